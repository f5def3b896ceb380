"""What a message may be: one line, at most so long, without characters that a terminal obeys."""

import unicodedata

MAX_LINE = 300  # characters of a message, the command's name among them
MAX_PART = 90  # characters that a message shows of a value that somebody gave
KEPT_END = 90  # characters at the end of a cut message: the way out stands there
CUT = " ... "
OBEYED = (
    "Cc",
    "Cf",
    "Cs",
    "Co",
    "Cn",
    "Zl",
    "Zp",
)  # control, direction, half a pair, unknown, line and page ends


def printable(text: str) -> str:
    """Return a text with every character that is not shown as itself written as \\x1b or \\u202e."""
    return "".join(
        mark.encode("unicode_escape").decode("ascii")
        if unicodedata.category(mark) in OBEYED
        else mark
        for mark in text
    )


def one_line(text: str) -> str:
    """Return a message on one line of at most MAX_LINE characters: its beginning and its end."""
    line = printable(text)
    return (
        line
        if len(line) <= MAX_LINE
        else line[: MAX_LINE - KEPT_END - len(CUT)] + CUT + line[-KEPT_END:]
    )


def part(text: str) -> str:
    """Return the beginning of a value, for the middle of a message."""
    return text if len(text) <= MAX_PART else f"{text[: MAX_PART - 3]}..."
