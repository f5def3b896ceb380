"""Locks on open files, alone or shared with others, on systems with flock and on Windows."""

import contextlib
import importlib
import os
import time
import warnings
from pathlib import Path
from typing import Any

with (
    warnings.catch_warnings()
):  # where fcntl is missing filelock says so; MISSING says what follows from it
    warnings.simplefilter("ignore")
    from filelock import FileLock, Timeout

__all__ = ["MISSING", "SoleUse", "are_there", "drop", "take"]


def _import_module(name: str) -> Any:
    """Return a module of the standard library; None where this system has none of that name."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


fcntl, msvcrt = _import_module("fcntl"), _import_module("msvcrt")  # POSIX, Windows
PLACES = (
    64  # bytes of a file on Windows: who shares it holds one of them, who has it alone holds all
)
POLL_SECONDS = 0.01
MISSING = (
    "this Python has no file locks (neither fcntl nor msvcrt): runs and workers do not make way "
    "for each other's latency readings; run one at a time, with workers=1"
)
_held: dict[int, tuple[int, int]] = {}  # on Windows: first byte and number of bytes by handle


class SoleUse:
    """Exclusive use of what a lock file stands for; the system frees it when the process dies.

    Args:
        path: of the lock file, which is made.
        refusal: what is said where another process has it.
        keeps_file: whether the empty file stays when the use has ended.
    Raises:
        ValueError: another process has it. OSError: the file cannot be made.
    """

    def __init__(self, path: Path, refusal: str, *, keeps_file: bool = True) -> None:
        self._path, self._keeps_file = path, keeps_file
        self._lock = FileLock(path, blocking=False)
        try:
            with warnings.catch_warnings():  # without flock filelock takes a file of its own
                warnings.simplefilter("ignore")
                self._lock.acquire()
        except Timeout:
            raise ValueError(refusal) from None

    def __enter__(self) -> "SoleUse":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let others have it; once is enough."""
        if self._lock.is_locked and not self._keeps_file:
            # Before it is free: who has opened it by then sees that it is gone, and makes another.
            with contextlib.suppress(OSError):  # Windows removes no file that is open
                self._path.unlink()
        self._lock.release()


def are_there() -> bool:
    """Return whether this system can lock files; else `take` gives every lock to everybody."""
    return fcntl is not None or msvcrt is not None


def take(handle: int, *, alone: bool, wait: bool = True) -> bool:
    """Lock an open file; return whether it is locked now.

    Args:
        handle: a file descriptor that is open for reading and writing.
        alone: nobody else holds it then; False: others may share it.
        wait: for whoever is in the way; False: return at once.
    """
    if fcntl is not None:
        return _lock_with_flock(handle, alone, wait)

    # Windows cannot wait without an end, so it is asked again and again.
    while msvcrt is not None and not _lock_bytes(handle, alone):
        if not wait:
            return False
        time.sleep(POLL_SECONDS)
    return True


def drop(handle: int) -> None:
    """Unlock a file, for forked children too; do nothing where it is not locked."""
    if fcntl is not None:
        fcntl.flock(handle, fcntl.LOCK_UN)
    elif handle in _held:
        first, count = _held.pop(handle)
        os.lseek(handle, first, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, count)


def _lock_with_flock(handle: int, alone: bool, wait: bool) -> bool:
    # The system frees the lock when the process ends, however it ends.
    kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH

    try:
        fcntl.flock(handle, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_bytes(handle: int, alone: bool) -> bool:
    """Lock all bytes, or a free one, as Windows does: exclusively; False: they are taken."""
    drop(handle)

    # To share is to hold one byte of many; to be alone is to hold all of them.
    for first in range(1 if alone else PLACES):
        count = PLACES if alone else 1
        os.lseek(handle, first, os.SEEK_SET)
        with contextlib.suppress(OSError):
            msvcrt.locking(handle, msvcrt.LK_NBLCK, count)
            _held[handle] = (first, count)
            return True
    return False
