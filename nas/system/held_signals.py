"""Signals that ask a process to end, held back until it can end in order."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

PATIENCE_SECONDS = 2.0  # after which a second signal of somebody who waits is not held
NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # SIGHUP is not everywhere


class HeldSignals:
    """The signals that came since they were held.

    Attributes:
        came: whether one asked to end.
        handlers: those that were there before, by number.
    """

    def __init__(self) -> None:
        self.came = False
        self.handlers: dict[int, Any] = {}
        self._first: tuple[int, FrameType | None] | None = None
        self._since = 0.0

    def hold(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; one that comes a while after the first is not held."""
        now = time.monotonic()
        if self._first is None:
            self.came, self._first, self._since = True, (number, frame), now
        elif now - self._since > PATIENCE_SECONDS:
            self.deliver()

    def deliver(self) -> None:
        """Do what the first signal that came would have done.

        Raises:
            KeyboardInterrupt: mostly that.
        """
        if self._first is None:
            return
        number, frame = self._first
        handler = self.handlers[number]
        if callable(handler):
            handler(number, frame)
        else:  # the system's own way, which ends the process
            signal.signal(number, handler)
            signal.raise_signal(number)


@contextlib.contextmanager
def holding_signals() -> Iterator[HeldSignals]:
    """Hold SIGINT, SIGTERM and SIGHUP back in the block; what was held comes after it.

    Signals that are ignored stay so; outside the main thread, where none is heard, none is held.
    """
    held = HeldSignals()
    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in NAMES if hasattr(signal, name)):
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                held.handlers[number] = signal.signal(number, held.hold)
    try:
        yield held
    finally:
        for number, handler in held.handlers.items():
            signal.signal(number, handler)
    held.deliver()
