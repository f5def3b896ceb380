"""The form of a message: one line of limited length, without characters that a terminal obeys."""

import re
from collections.abc import Iterable

from nas.system.schema.schema_rules import MAX_SHOWN
from nas.system.streams import printable

MAX_LINE = 300  # characters of a message, the command's name among them
MAX_PART = MAX_SHOWN  # characters that a message shows of a value that somebody gave
KEPT_END = 90  # characters at the end of a cut message: the way out stands there
CUT = " ... "
MAX_PATH = 160  # characters of a path that is shown whole: a part of one names no file
_LONG_WORD = re.compile(rf"\S{{{MAX_PATH + 1},}}|[^\s/]{{{MAX_PART + 1},}}")


def one_line(text: str, values: Iterable[str] = ()) -> str:
    """Return a message on one line of at most MAX_LINE characters: its beginning and its end.

    Args:
        values: that were typed; of these, and of any long word, MAX_PART characters are shown.
            Paths of MAX_PATH characters stay whole.
    """
    line = printable(text)
    # The longest first: one value may lie within another.
    for value in sorted(map(printable, values), key=len, reverse=True):
        if len(value) > (MAX_PATH if "/" in value else MAX_PART):
            line = line.replace(value, _cut_middle(value))
    line = _LONG_WORD.sub(lambda word: _cut_middle(word[0]), line)

    if len(line) <= MAX_LINE:
        return line
    return line[: MAX_LINE - KEPT_END - len(CUT)] + CUT + line[-KEPT_END:]


def _cut_middle(value: str) -> str:
    """Return MAX_PART characters of a value: its end tells a file among others."""
    half = (MAX_PART - 3) // 2
    return f"{value[: MAX_PART - 3 - half]}...{value[-half:]}"


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
