"""A training in the terminal: a bar with the time left, or a line a validation in a pipe."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from nas.analysis.training import Reading, TrainingState
from nas.report.training.words import write_reading


class TrainingScreen:
    """Shows a training while it runs.

    Args:
        console: that of `nas.system.console`; one that is no terminal gets lines alone.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        shows_bar = console.is_terminal and not console.is_dumb_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("step {task.completed:,} of {task.total:,}"),
            TextColumn("{task.fields[psnr]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            transient=True,
            disable=not shows_bar,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> "TrainingScreen":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def step(self, stage: str, done: int, total: int) -> None:
        """Show how far the training is, in steps of all stages."""
        if self._bar.disable:
            return
        if self._task is None:
            self._task = self._bar.add_task(stage, total=total, completed=done, psnr="")
        self._bar.update(self._task, completed=done, total=total, description=stage)

    def read(self, reading: Reading, state: TrainingState) -> None:
        """Print a validation, which stays."""
        self._console.print(write_reading(reading, state), soft_wrap=True)
        if self._task is not None and reading.psnr_db is not None:
            self._bar.update(self._task, psnr=f"{reading.psnr_db:.2f} dB")
