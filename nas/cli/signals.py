"""Signals that ask a command to end: Ctrl-C, SIGTERM and SIGHUP end it alike, in order."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

GRACE_SECONDS = 5.0  # for which a command that was asked to end is not asked again
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # SIGHUP is not everywhere


class Stopped(KeyboardInterrupt):
    """Somebody asked this process to end.

    Attributes:
        status: the exit status that says by which signal: 128 and its number.
    """

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


class Signals:
    """What this process was asked to do.

    Attributes:
        stop: set once it was asked to end.
    """

    def __init__(self) -> None:
        self.stop: Stopped | None = None
        self._last = 0.0

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Raise `Stopped`, but not into the work of ending that the signal before has begun."""
        now = time.monotonic()
        if self.stop is not None and now - self._last < GRACE_SECONDS:
            return
        self._last = now
        self.stop = self.stop or Stopped(128 + number)
        raise Stopped(self.stop.status)


@contextlib.contextmanager
def heard(*, until_the_end: bool) -> Iterator[Signals]:
    """Raise `Stopped` where a signal asks this process to end.

    A signal that is ignored, as nohup has it, stays ignored; outside the main thread none is heard.

    Args:
        until_the_end: of the process, which comes next; else former handlers return.
    """
    signals, former = Signals(), {}
    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
            if signal.getsignal(number) != signal.SIG_IGN:
                former[number] = signal.signal(number, signals.handle)
    try:
        yield signals
    finally:
        # Python's own end takes a moment too, and a signal would show in a traceback there.
        for number, handler in former.items():
            signal.signal(number, signal.SIG_IGN if until_the_end else handler)
