"""Printing to any terminal: characters that it cannot show have a stand-in."""

import codecs
import os
import sys
import unicodedata

STAND_INS = {
    **dict.fromkeys("−–—‐‑·•", "-"),
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys("“”", '"'),
    "×": "x",
    "±": "+-",
    "→": "->",
    "↑": "^",
    "↓": "v",
    "≤": "<=",
    "≥": ">=",
}
LINES, BLOCKS, DOTS = (
    range(0x2500, 0x2580),
    range(0x2580, 0x25A0),
    range(0x2800, 0x2900),
)  # of tables and bars
ERRORS = "nas.stand_in"  # the name under which codecs knows `_stand_in`


def make_printable() -> None:
    """Let the standard streams of this process take every character, in any encoding.

    A stream that is closed, as by `>&-`, is opened on nothing: what is printed there is lost, not
    an error.
    """
    codecs.register_error(ERRORS, _stand_in)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            nothing = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - open till the end
            setattr(sys, name, nothing)
        elif hasattr(
            stream, "reconfigure"
        ):  # not where a test or a notebook has put a stream of its own
            stream.reconfigure(errors=ERRORS)


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding cannot take, as codecs ask an error handler to."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(map(_to_ascii, text)), error.end


def _to_ascii(letter: str) -> str:
    """Return ASCII for a character: its stand-in, its letter without marks, or its escape."""
    if letter in STAND_INS:
        return STAND_INS[letter]
    if ord(letter) in LINES:
        return _draw_line(unicodedata.name(letter))
    if ord(letter) in BLOCKS or ord(letter) in DOTS:
        return "#"

    # An accent falls away; what has no letter is written as its number.
    parts = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return parts or letter.encode("ascii", "backslashreplace").decode()


def _draw_line(name: str) -> str:
    """Return ASCII in place of a piece of a line, whose Unicode name says where it leads."""
    level = any(word in name for word in ("HORIZONTAL", "LEFT", "RIGHT"))
    upright = any(word in name for word in ("VERTICAL", "UP", "DOWN"))

    return "+" if level and upright else "|" if upright else "-"
