"""Who has a device: a measurement has it alone; trainings share it and make way between two steps.

Four files a device, all locked by the system (`file_locks`), which frees them when a process dies:

- device: a measurement holds it exclusively, trainings share it.
- want: held by the measurement that is next or under way; trainings look at it between steps.
- turn: shared by trainings that made way, until they have had a turn; a measurement waits for that
  before it wants the device. So trainings get on, however many measurements queue.
- queue: held by one measurement from before its wish to its end; the others wait there.

They are taken in the order queue, turn, want, device. A measurement has the device as soon as every
training has ended the step it was in. They lie in a folder of this user alone; who waits long says
who holds them (`lock_waits`).
"""

import atexit
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from nas.system import file_locks
from nas.system.files.private_folder import open_private
from nas.system.lock_waits import open_lock_file, take_patiently

MAX_HOLD_SECONDS = 60.0
# A training's turn before the next measurement: this share of the time for which it made way, and
# at most that many seconds and a step.
OWED_SHARE = 0.1
MAX_TURN_SECONDS = 0.8
Name = Literal["queue", "turn", "want", "device"]
NAMES: tuple[Name, ...] = ("queue", "turn", "want", "device")
_listed: set[Path] = set()  # where this process stands as a user


class _LockFiles:
    """The open lock files of one device.

    Opening them lists this process as a user of the device (see `users`).
    """

    def __init__(self, device_id: str, folder: Path | None) -> None:
        stem = _file_stem(device_id, folder)
        open_folder(stem.parent)
        _list_user(_users_folder(stem))
        self._what = f"device {device_id}"
        self._handles = {
            name: open_lock_file(stem.with_name(f"{stem.name}.{name}.lock")) for name in NAMES
        }

    def take(self, *names: Name, alone: bool) -> None:
        """Lock in this order, alone or shared, waiting for whoever is in the way."""
        for name in names:
            take_patiently(self._handles[name], alone=alone, what=self._what)

    def is_free(self, name: Name) -> bool:
        """Return whether nobody holds a lock exclusively."""
        free = file_locks.take(self._handles[name], alone=False, wait=False)
        if free:
            self.drop(name)
        return free

    def drop(self, *names: Name) -> None:
        for name in names:
            file_locks.drop(self._handles[name])

    def close(self) -> None:
        # In the opposite order of taking: whoever waits for the queue finds the rest free.
        self.drop(*reversed(NAMES))
        for handle in self._handles.values():
            os.close(handle)


class Hold:
    """A device that is held alone; long work calls `pause` between its parts.

    Attributes:
        waited: seconds spent waiting for the device.
    """

    def __init__(self, files: _LockFiles) -> None:
        self._files = files
        self.waited = 0.0
        self._take_device()

    def pause(self) -> bool:
        """Let others have the device once it was held for a minute; return whether it was given."""
        if time.monotonic() - self._since < MAX_HOLD_SECONDS:
            return False
        self._files.drop("device", "want", "queue")
        time.sleep(0.01)  # whoever waits in the queue wakes up
        self._take_device()
        return True

    def _take_device(self) -> None:
        start = time.monotonic()
        # The turn is only waited for, not kept: trainings that made way before have theirs first.
        self._files.take("queue", "turn", alone=True)
        self._files.drop("turn")
        self._files.take("want", "device", alone=True)
        self._since = time.monotonic()
        self.waited += self._since - start


class Share:
    """A device that is shared with other trainings; `give_way` belongs between two steps.

    Attributes:
        waited: seconds spent waiting for the device.
    """

    def __init__(self, files: _LockFiles, settle: Callable[[], None]) -> None:
        self._files = files
        self._settle = settle
        self._turn_ends: float | None = None
        self.waited = 0.0
        self._join_device()

    def give_way(self) -> None:
        """Let a measurement that wants the device have it; return when that is over."""
        # Nobody can want the device before this training's turn is over: it holds the turn's lock.
        if self._turn_ends is not None:
            if time.monotonic() < self._turn_ends:
                return
            self._turn_ends = None
            self._files.drop("turn")
        if self._files.is_free("want"):
            return

        # The turn is taken before the device is given, so the measurement after this one waits.
        self._settle()
        start = time.monotonic()
        self._files.take("turn", alone=False)
        self._files.drop("device")
        self._join_device()
        now = time.monotonic()
        self._turn_ends = now + min(OWED_SHARE * (now - start), MAX_TURN_SECONDS)  # a step at least

    def _join_device(self) -> None:
        start = time.monotonic()
        # Whoever wants the device goes first; the wish itself is not this training's to keep.
        self._files.take("want", alone=False)
        self._files.drop("want")
        self._files.take("device", alone=False)
        self.waited += time.monotonic() - start


@contextmanager
def exclusive(device_id: str, *, folder: Path | None = None) -> Iterator[Hold]:
    """Hold a device alone, for a measurement; wait until whoever has it is done or makes way.

    It is not reentrant: a second `with` inside the first, or inside `shared`, waits for itself.

    Args:
        device_id: names the device, such as "cpu" or a GPU's UUID.
        folder: where the lock files lie; None: the user's own folder on this machine.
    Raises:
        OSError: a lock file cannot be made, or its folder is not this user's alone.
    """
    files = _LockFiles(device_id, folder)
    try:
        yield Hold(files)
    finally:
        files.close()


@contextmanager
def shared(
    device_id: str, *, settle: Callable[[], None] = lambda: None, folder: Path | None = None
) -> Iterator[Share]:
    """Use a device together with others, for a training; wait until no measurement has it.

    Args:
        device_id: as of `exclusive`, with the same errors.
        settle: ends what runs on the device, before it is given away.
    """
    files = _LockFiles(device_id, folder)
    try:
        yield Share(files, settle)
        settle()
    finally:
        files.close()


def users(device_id: str, *, folder: Path | None = None) -> set[int]:
    """Return the live processes that have used a device under its lock: those that make way."""
    # A process that was killed left its file behind: it is removed here.
    alive = set()
    for path in _users_folder(_file_stem(device_id, folder)).glob("*"):
        if _is_alive(int(path.name)):
            alive.add(int(path.name))
        else:
            path.unlink(missing_ok=True)
    return alive


def lock_folder() -> Path:
    """Return the folder of the lock files: local to the machine, one a user."""
    # On Windows the folder for temporary files is the user's own.
    user = f"-{os.getuid()}" if hasattr(os, "getuid") else ""
    return Path(tempfile.gettempdir()) / f"esr-nas{user}"


def open_folder(folder: Path | None = None) -> None:
    """Make the folder of the lock files, and check that it is this user's alone.

    Raises:
        PermissionError: it is not; the message says what to do.
        OSError: it cannot be made.
    """
    way_out = "remove it, or name another folder for temporary files: TMPDIR=/path"
    open_private(folder or lock_folder(), way_out=way_out)


def _list_user(folder: Path) -> None:
    """List this process as a user of a device, until it ends."""
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / str(os.getpid())
    if path not in _listed:
        _listed.add(path)
        atexit.register(_forget_user, path, os.getpid())
    path.touch()


def _forget_user(path: Path, pid: int) -> None:
    if pid == os.getpid():  # in a forked child it is another: the parent stays listed
        path.unlink(missing_ok=True)


def _file_stem(device_id: str, folder: Path | None) -> Path:
    return (folder or lock_folder()) / re.sub(r"[^A-Za-z0-9._-]", "_", device_id)


def _users_folder(stem: Path) -> Path:
    return stem.with_name(f"{stem.name}.users")


def _is_alive(pid: int) -> bool:
    if os.name == "nt":  # there `os.kill` ends a process, whatever the signal
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's, so there is one
        return True
    return True
