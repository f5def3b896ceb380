"""The form of a message: one line of limited length, without characters that a terminal obeys."""

import re
import unicodedata

MAX_LINE = 300  # characters of a message, the command's name among them
MAX_PART = 90  # characters that a message shows of a value that somebody gave
KEPT_END = 90  # characters at the end of a cut message: the way out stands there
CUT = " ... "
# Unicode categories: control, direction, half a pair, private, unknown, line and paragraph ends.
OBEYED = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def printable(text: str) -> str:
    """Return a text in which characters that are not shown as themselves are written as \\x1b."""
    return "".join(
        mark.encode("unicode_escape").decode("ascii")
        if unicodedata.category(mark) in OBEYED
        else mark
        for mark in text
    )


def one_line(text: str) -> str:
    """Return a message on one line of at most MAX_LINE characters: its beginning and its end."""
    line = printable(text)
    if len(line) <= MAX_LINE:
        return line
    return line[: MAX_LINE - KEPT_END - len(CUT)] + CUT + line[-KEPT_END:]


def part(text: str) -> str:
    """Return the beginning of a value, for the middle of a message."""
    return text if len(text) <= MAX_PART else f"{text[: MAX_PART - 3]}..."


def message_of(error: BaseException) -> str:
    """Return an exception's message on one line, without Hydra's advice."""
    lines = [line.strip() for line in str(error).splitlines()]
    advice = ("See https", "object_type=", "full_key:")
    kept = [line for line in lines if line and not line.startswith(advice)]
    # OmegaConf names the key last; our messages start with it.
    key = re.search(r"^ *full_key: (\S+)", str(error), re.MULTILINE)
    return (f"{key[1]}: " if key else "") + ("; ".join(kept) or type(error).__name__)
