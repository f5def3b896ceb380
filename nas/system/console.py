"""Where a terminal is printed to: no markup is read in a text, and no terminal obeys it."""

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from nas.system.faults import ClosedOutputError
from nas.system.streams import LastingStream, printable

PIPE_WIDTH = 160  # columns; a pipe has no width of its own, and tables of this width are not cut


class PlainConsole(Console):
    """A console on which every text stands as it is: names come from strangers' files.

    `[/b]` is no markup, `:fire:` no picture and `\\x1b[2J` four visible characters, in a line, a
    cell and a `Text`. A text is one line: a newline within it is shown as \\n.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text as it is shown."""
        return super().render_str(printable(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the pieces of what is shown; rich comes here for each part of each part."""
        # Styles of parts of a text are left out where it is changed: their places have moved.
        if isinstance(renderable, Text) and not renderable.plain.isprintable():
            renderable = renderable.blank_copy(printable(renderable.plain))
        return super().render(renderable, options)

    def on_broken_pipe(self) -> None:
        """Tell that the reader has gone; rich itself would end the process with status 1."""
        raise ClosedOutputError


def open_console(*, lasts: bool = False) -> PlainConsole:
    """Return a console on standard output: as wide as a terminal is, a pipe without cut lines.

    Args:
        lasts: of a command that goes on where its output cannot be written.
    """
    file: Any = LastingStream(sys.stdout) if lasts else None
    console = PlainConsole(file=file)
    return console if console.is_terminal else PlainConsole(file=file, width=PIPE_WIDTH)


def print_lines(console: PlainConsole, lines: Iterable[str]) -> None:
    """Print lines that are not cut."""
    for line in lines:
        console.print(line, soft_wrap=True)
