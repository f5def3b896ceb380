"""Temporary folders that have an owner: each goes with its process, however that ends."""

import contextlib
import os
import re
import shutil
import stat
import tempfile
import weakref
from pathlib import Path
from types import TracebackType

from nas.system import file_locks
from nas.system.lock_waits import open_lock_file

PREFIX = "esr-nas-temporary-"
OWNER = "owner.lock"  # in the folder; its process holds it as long as it lives
_NAME = re.compile(re.escape(PREFIX) + r"[a-z0-9_]{8}")  # as `mkdtemp` ends it


class OwnedFolder:
    """A new folder, removed by `close`, at the end of a block, or when its process ends.

    What a killed process left is removed when the next folder is made in the same place.

    Attributes:
        path: the folder.

    Example:
        >>> with OwnedFolder() as folder:
        ...     (folder / "note").write_text("gone soon")
        9
        >>> folder.exists()
        False
    """

    def __init__(self, parent: Path | None = None) -> None:
        """Make a folder.

        Args:
            parent: where; None: the folder for temporary files.
        Raises:
            OSError: it cannot be made.
        """
        place = parent or Path(tempfile.gettempdir())
        sweep_folders(place)
        self.path, handle = _make_folder(place)
        self._finish = weakref.finalize(self, _remove_folder, self.path, handle, os.getpid())

    def close(self) -> None:
        """Remove the folder; nothing happens where that was done."""
        self._finish()

    def __enter__(self) -> Path:
        return self.path

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def sweep_folders(place: Path) -> None:
    """Remove the folders in a place whose processes have ended; what cannot be removed stays."""
    if not file_locks.are_there():
        return  # the dead cannot be told from the living
    with contextlib.suppress(OSError):
        for path in place.iterdir():
            if _NAME.fullmatch(path.name) and _is_own_folder(path):
                _sweep_folder(path)


def _sweep_folder(path: Path) -> None:
    """Remove a folder if nobody holds its lock."""
    with contextlib.suppress(OSError):
        handle = open_lock_file(path / OWNER)
        try:
            if file_locks.take(handle, alone=True, wait=False):
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(handle)


def _make_folder(place: Path) -> tuple[Path, int]:
    """Return a new folder, and its lock, held."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        try:
            handle = open_lock_file(path / OWNER)
        except FileNotFoundError:
            continue  # swept by another process before its lock was there

        # A file system without locks: nobody can sweep there, so none is needed.
        is_ours = True
        with contextlib.suppress(OSError):
            is_ours = file_locks.take(handle, alone=True, wait=False)
        if is_ours and (path / OWNER).exists():
            return path, handle
        os.close(handle)  # a sweep came between the two steps


def _remove_folder(path: Path, handle: int, owner: int) -> None:
    """Remove a folder and its lock, in the process that made it."""
    if os.getpid() != owner:
        return  # a forked child goes; its parent still needs the folder
    # Windows removes no open file, so the lock is closed first: a sweep may help meanwhile.
    os.close(handle)
    shutil.rmtree(path, ignore_errors=True)


def _is_own_folder(path: Path) -> bool:
    """Return whether a path is a folder of this user, and no link to one."""
    with contextlib.suppress(OSError):
        status = path.lstat()
        is_own = not hasattr(os, "getuid") or status.st_uid == os.getuid()
        return stat.S_ISDIR(status.st_mode) and is_own
    return False
