"""Names of files in text: names are bytes, and not all bytes are UTF-8."""


def escape_name(name: object) -> str:
    """Return a path or a text with names in it so that UTF-8 can hold it.

    Python stands bytes of a name that are no UTF-8 for by half pairs, which no file and no terminal
    takes: they are written as \\xe9.

    Example:
        >>> escape_name("caf\\udce9.png")
        'caf\\\\xe9.png'
    """
    return "".join(
        f"\\x{ord(letter) - 0xDC00:02x}" if "\udc80" <= letter <= "\udcff" else letter
        for letter in str(name)
    )
