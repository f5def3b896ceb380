"""Names of files in text: names are bytes, and not all bytes are UTF-8."""


def escape_name(name: object) -> str:
    """Return a path or a text with names in it so that UTF-8 can hold it.

    Python stands bytes of a name that are no UTF-8 for by half pairs, which no file and no terminal
    takes: they are written as \\xe9, other half pairs as \\ud800.

    Example:
        >>> escape_name("caf\\udce9.png")
        'caf\\\\xe9.png'
    """
    text = str(name)
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(map(_escape_letter, text))
    return text  # a page of some megabytes, mostly


def _escape_letter(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("utf-8", "backslashreplace").decode()
