"""Waiting for a lock: whoever waits long says who holds it."""

import contextlib
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path

from nas.system import file_locks

PATIENCE_SECONDS = 10.0  # after which a wait is told
MAX_COMMAND = 80  # characters of a holder's command that are shown
NO_LINKS = getattr(os, "O_NOFOLLOW", 0)  # Windows has no such flag
Say = Callable[[str], None]


def _print_line(words: str) -> None:
    """Print a line on standard error, which is no command's output."""
    print(f"nas: {words}", file=sys.stderr, flush=True)


_listener: ContextVar[Say] = ContextVar("listener", default=_print_line)


@contextlib.contextmanager
def telling(say: Say) -> Iterator[None]:
    """Tell long waits within the block to `say`, instead of printing them."""
    token = _listener.set(say)
    try:
        yield
    finally:
        _listener.reset(token)


def open_lock_file(path: Path) -> int:
    """Open a lock file, made where it is missing; no link is followed.

    Raises:
        OSError: it cannot be made, or is a link.
    """
    # It stays when it is closed: to unlink it would race with whoever waits for it.
    return os.open(path, os.O_RDWR | os.O_CREAT | NO_LINKS, 0o600)


def take_patiently(handle: int, *, alone: bool, what: str) -> None:
    """Lock an open file as `file_locks.take` does; a long wait is told once, with who holds it.

    Args:
        what: the lock is of, such as "device cpu".
    """
    if file_locks.take(handle, alone=alone, wait=False):
        return

    # A thread tells it, as nothing ends the system's own wait; never once that is over, since its
    # caller may be saying something itself by then.
    say, guard, is_over = _listener.get(), threading.Lock(), threading.Event()

    def tell() -> None:
        with guard:
            if not is_over.is_set():
                say(f"waiting for {what}, held by {describe_holders(handle)}")

    timer = threading.Timer(PATIENCE_SECONDS, tell)
    timer.daemon = True
    timer.start()
    try:
        file_locks.take(handle, alone=alone)
    finally:
        timer.cancel()
        with guard:
            is_over.set()


@contextlib.contextmanager
def hold_file(path: Path, *, what: str) -> Iterator[None]:
    """Hold a lock file alone for the block; waits for whoever has it.

    Args:
        what: as of `take_patiently`.
    Raises:
        OSError: the file cannot be made, or is a link.
    """
    handle = open_lock_file(path)
    try:
        take_patiently(handle, alone=True, what=what)
        yield
    finally:
        os.close(handle)  # which frees the lock


def describe_holders(handle: int) -> str:
    """Say which other processes hold the lock of an open file, with their commands."""
    holders = [pid for pid in _list_holders(os.fstat(handle)) if pid != os.getpid()]
    if not holders:
        return "another process"  # of another container, or of a system that does not tell
    return ", ".join(f"process {pid}{_read_command(pid)}" for pid in holders)


def _list_holders(status: os.stat_result) -> list[int]:
    """List the processes that Linux says hold a lock on a file; empty where it does not say."""
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return []

    # As "1: FLOCK  ADVISORY  WRITE 1234 00:2d:5678 0 EOF": process, device and inode. Who waits has
    # an arrow. Some file systems name another device than `stat`, so the inode alone may decide.
    pattern = re.compile(r"^\d+: FLOCK +\S+ +\S+ +(\d+) +(\w+):(\w+):(\d+) ")
    found = [match.groups() for line in lines if (match := pattern.match(line))]
    same_inode = [entry for entry in found if int(entry[3]) == status.st_ino]
    device = (os.major(status.st_dev), os.minor(status.st_dev))
    same_device = [
        entry for entry in same_inode if (int(entry[1], 16), int(entry[2], 16)) == device
    ]
    return sorted({int(entry[0]) for entry in same_device or same_inode if int(entry[0]) > 0})


def _read_command(pid: int) -> str:
    """Return a process's command in brackets; empty where it cannot be read."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    # Anybody's process may be called anything.
    text = b" ".join(words).decode(errors="replace").strip()
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    short = text if len(text) <= MAX_COMMAND else f"{text[:MAX_COMMAND]}..."
    return f" ({short})" if short else ""
