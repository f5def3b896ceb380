"""A run as it is shown while it is searched: its study, and all that the user is told of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nas.analysis.run_state import RunState
from nas.search.store.run_folder.run_directory import Files
from nas.search.store.study import Study

MAX_NOTICES = 20  # that one session adds to those of its start


class ShownRun:
    """The run that a search is making, for its screen and for its files.

    Args:
        files: that are made of it.
        settings: as they are shown.
        lr_origins: how the LR images of each role were made, in words.
        notices: what the user is told at the start.
    """

    def __init__(
        self,
        study: Study,
        files: Files,
        *,
        name: str,
        settings: Mapping[str, Any],
        lr_origins: Mapping[str, str],
        notices: Sequence[str],
    ) -> None:
        self.files = files
        self._study = study
        self._name, self._settings, self._lr_origins = name, settings, lr_origins
        self._notices = list(notices)
        self._later_notices: list[str] = []  # what went wrong on the way and ended nothing

    @property
    def state(self) -> RunState:
        """The run as it stands."""
        notices = (*self._notices, *self._later_notices, *self.files.notices)
        state = self._study.show(self._name, self._settings, notices)
        return replace(state, lr_origins=self._lr_origins)

    def write(self, *, now: bool = False) -> None:
        """Rewrite the files, where that is due, or now."""
        self.files.update(self.state, now=now)

    def tell_at_start(self, sentence: str) -> None:
        """Tell the user what stands before all that goes wrong on the way."""
        self._notices.append(sentence)

    def notify(self, sentence: str) -> None:
        """Tell the user what went wrong on the way and ended nothing."""
        if len(self._later_notices) < MAX_NOTICES:
            self._later_notices.append(sentence)
        elif len(self._later_notices) == MAX_NOTICES:
            self._later_notices.append("more of the kind are not listed")
