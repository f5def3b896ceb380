"""What shows a training while it runs: the terminal and its page."""

from dataclasses import replace
from typing import Any

from nas.analysis.training import Reading, TrainingState
from nas.commands.training.events import Events
from nas.commands.training.folder import TrainingFolder, refresh
from nas.report.training.screen import TrainingScreen
from nas.search.screen import guarded
from nas.system.console import PlainConsole
from nas.system.streams import say_aside
from nas.train.run.plan import Segment, list_steps


class Watcher:
    """Shows a training in the terminal and on its page; neither can end it."""

    def __init__(
        self,
        folder: TrainingFolder,
        console: PlainConsole,
        state: TrainingState,
        *,
        tensorboard: bool,
    ) -> None:
        self._folder, self._state = folder, state
        self._screen = TrainingScreen(console)
        self._events: Events | None = None
        if tensorboard:
            with guarded("tensorboard"):
                self._events = Events(folder.path, state.readings)

    def __enter__(self) -> "Watcher":
        with guarded("the display"):
            self._screen.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        with guarded("the display"):
            self._screen.__exit__(*error)
        if self._events:
            with guarded("tensorboard"):
                self._events.close()

    def plan(self, segments: list[Segment]) -> None:
        self._state = replace(self._state, stages=list_steps(segments))
        self.write_page()

    def step(self, segment: Segment, done: int) -> None:
        with guarded("the display"):
            self._screen.step(segment.name, done, self._state.num_steps)

    def read(self, reading: Reading) -> None:
        self.write_page()
        with guarded("the display"):
            self._screen.read(reading, self._state)
        if self._events:
            with guarded("tensorboard"):
                self._events.add(reading)

    def tell(self, notice: str) -> None:
        if notice not in self._state.notices:
            self._state = replace(self._state, notices=[*self._state.notices, notice])
            say_aside(f"nas train: {notice}")

    def write_page(self) -> None:
        with guarded("the page"):
            self._state = refresh(self._state, self._folder.path)
            self._folder.write_page(self._state)
