"""What shows a search while it runs; it cannot end one."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol

from nas.analysis.run_state import RunState
from nas.system.faults import ClosedOutputError
from nas.system.streams import say_aside

MAX_CAUSE = 160  # characters of an error's message


class Screen(Protocol):
    """Shows a search while it runs."""

    def update(
        self,
        state: RunState,
        *,
        running: Mapping[int, str],
        trials_wanted: int | None,
        seconds_left: float | None,
    ) -> None:
        """Show the search as it stands; called several times a second.

        Args:
            running: what is done for each trial that runs, by its number.
            seconds_left: until the budget is spent; None: nothing is known of that yet.
        """
        ...


OpenScreen = Callable[[RunState], AbstractContextManager[Screen]]


class _DarkScreen:
    """Shows nothing."""

    def update(self, state: RunState, **_: Any) -> None:
        pass


def show_nothing(state: RunState) -> AbstractContextManager[Screen]:
    """Open a screen that shows nothing."""
    return contextlib.nullcontext(_DarkScreen())


class GuardedScreen:
    """A screen that is closed when it fails, which is told once; the search goes on without it.

    A reader that has gone, as in `nas search | head`, is no failure: it ends the search in order.

    Args:
        open_screen: opens the screen, with the run as it stands then.
    """

    def __init__(self, open_screen: OpenScreen, state: RunState) -> None:
        self._open_screen = open_screen
        self._state = state
        self._screen: Screen = _DarkScreen()
        self._exits = ExitStack()

    def __enter__(self) -> "GuardedScreen":
        with self._guarded():
            self._screen = self._exits.enter_context(self._open_screen(self._state))
        return self

    def __exit__(self, *error: object) -> None:
        # What has ended the search is worth more than what comes up while the screen is closed.
        with contextlib.suppress(ClosedOutputError), guarded("the display"):
            self._exits.close()

    def update(self, state: RunState, **shown: Any) -> None:
        """Show the search as it stands."""
        with self._guarded():
            self._screen.update(state, **shown)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Close the screen where it fails."""
        is_shown = False
        with guarded("the display"):
            yield
            is_shown = True
        if not is_shown:
            self._screen = _DarkScreen()
            with contextlib.suppress(Exception):  # it has failed already
                self._exits.close()


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Say on one line that something could not be shown; for developers it is raised.

    Args:
        what: is shown, in words.
    Raises:
        ClosedOutputError: nobody reads the output.
    """
    try:
        yield
    except BrokenPipeError as error:  # of a screen of Python, whose output may be any stream
        raise ClosedOutputError from error
    except Exception as error:  # whatever it is: a search is worth more than what shows it
        if os.environ.get("NAS_TRACEBACK"):
            raise
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:MAX_CAUSE]
        say_aside(f"{what} failed ({cause}); it is left out, and nothing else is lost")
