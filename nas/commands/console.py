"""Where commands print: a terminal as wide as it is, a pipe without cut lines."""

from collections.abc import Iterable

from rich.console import Console

PIPE_WIDTH = 160  # columns; a pipe has no width of its own, and tables of this width are not cut


def open_console() -> Console:
    """Return a console on standard output."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


def print_lines(console: Console, lines: Iterable[str]) -> None:
    """Print lines as they are: no markup is read in them, and they are not cut."""
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
