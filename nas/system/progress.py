"""A progress bar on the standard error stream, for what takes long."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nas.system.console import PlainConsole
from nas.system.streams import LastingStream

_PATIENCE_S = 1.0  # no bar for what is over sooner


class LateBar:
    """A bar that appears after a second, if the standard error stream is a terminal.

    Args:
        label: what is done, beside the bar.
        total: how many steps there are.
        show: whether a bar may be shown.
    """

    def __init__(self, label: str, total: int, *, show: bool = True) -> None:
        console = PlainConsole(file=LastingStream(sys.stderr))
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._bar = Progress(
            *columns, console=console, transient=True, disable=not (show and console.is_terminal)
        )
        self._task = self._bar.add_task(label, total=total)
        self._begin = time.monotonic()
        self._is_started = False

    def update(self, done: int, total: int | None = None) -> None:
        """Show how many steps are done, and of how many where that has changed."""
        if not self._is_started and time.monotonic() - self._begin > _PATIENCE_S:
            self._bar.start()
            self._is_started = True
        self._bar.update(self._task, completed=done, total=total)

    def close(self) -> None:
        """Take the bar away."""
        if self._is_started:
            self._bar.stop()

    def __enter__(self) -> LateBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
