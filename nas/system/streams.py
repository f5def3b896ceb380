"""Printing to any terminal and any stream: what a terminal cannot show, or would obey, is replaced."""

import codecs
import contextlib
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator
from typing import IO, Any

from nas.system.faults import ClosedOutputError, OutputError, describe_os_error

STANDARD_OUTPUT = "standard output"  # as messages name it

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
# Unicode categories: control, direction, half a pair, private, unknown, line and paragraph ends.
OBEYED = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def printable(text: str) -> str:
    """Return a text in which characters that are not shown as themselves are written as \\x1b.

    Example:
        >>> print(printable("a name\\x1b[2J"))
        a name\x1b[2J
    """
    if text.isprintable():
        return text
    return "".join(
        mark.encode("unicode_escape").decode("ascii")
        if unicodedata.category(mark) in OBEYED
        else mark
        for mark in text
    )


def say_aside(line: str) -> None:
    """Print a line on standard error; where nobody can read it, nothing happens."""
    try:
        print(printable(line), file=sys.stderr, flush=True)
    except (OSError, ValueError):  # it is full, or closed
        _drop(sys.stderr)


def drop_output() -> None:
    """Let standard output go nowhere from here on: it is full, or its reader has gone.

    What waits in its buffers would fail once more at each flush, and at the end of Python.
    """
    _drop(sys.stdout)


def _drop(stream: IO[str]) -> None:
    # A stream of a test or a notebook has no descriptor.
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class LastingStream:
    """A stream for who goes on where it cannot be written to, as on a full disk.

    Of standard output that is told once, on standard error; what follows goes nowhere. A reader
    of it that has gone is another matter: nobody wants the rest, and a ClosedOutputError says so.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._is_lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, as far as that can be done."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush what was written, as far as that can be done."""
        self._try(self._stream.flush)

    def _try(self, act: Callable[[], object]) -> None:
        if self._is_lost:
            return
        try:
            act()
        except OSError as error:
            if isinstance(error, BrokenPipeError) and self._stream is not sys.stderr:
                raise ClosedOutputError(error.errno, error.strerror) from error
            self._is_lost = True
            if self._stream is not sys.stdout:
                return
            drop_output()
            say_aside(f"{describe_os_error(error, STANDARD_OUTPUT)}; what follows is not printed")


class _OwnOutput:
    """Standard output, whose errors say that they are its own."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with _output_errors():
            return self._stream.write(text)

    def flush(self) -> None:
        with _output_errors():
            self._stream.flush()


@contextlib.contextmanager
def telling_output_apart() -> Iterator[None]:
    """Let what cannot be printed within the block raise errors of its own.

    An OSError without a file's name could come from anything else too.

    Raises:
        ClosedOutputError: whoever read standard output has gone.
        OutputError: it cannot be written otherwise.
    """
    former = sys.stdout
    ours: Any = _OwnOutput(former)
    sys.stdout = ours
    try:
        yield
    finally:
        # Whoever put a stream of its own there since may still need it.
        if sys.stdout is ours:
            sys.stdout = former


@contextlib.contextmanager
def _output_errors() -> Iterator[None]:
    """Turn errors of standard output into those that say so."""
    try:
        yield
    except BrokenPipeError as error:
        raise ClosedOutputError(error.errno, error.strerror) from error
    except OSError as error:
        raise OutputError(error.errno, error.strerror) from error


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
