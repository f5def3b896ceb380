"""Folders that one user alone can write: what lies there was put there by that user."""

import contextlib
import os
import stat
from pathlib import Path


def open_private(folder: Path, *, way_out: str) -> Path:
    """Return a folder that is this user's alone; it is made where it is missing.

    Another user may have made a folder of its name before, such as in /tmp: nothing is written or
    loaded there.

    Args:
        way_out: what the user can do where it is refused, for the message.
    Raises:
        PermissionError: it is a link or no folder, another user's, or every user may write to it.
        OSError: it cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)

    fault = _find_fault(folder)
    if fault:
        raise PermissionError(f"{folder} {fault}; {way_out}")
    if hasattr(os, "getuid") and stat.S_IMODE(folder.lstat().st_mode) != 0o700:
        folder.chmod(0o700)  # an earlier version or a loose umask made it
    return folder


def _find_fault(folder: Path) -> str:
    """Say why a folder is not this user's alone; empty: it is, or its mode can be made so."""
    # Not followed: a link would lead to a folder of its maker's choice.
    status = folder.lstat()
    if stat.S_ISLNK(status.st_mode):
        return "is a link, and a private folder is expected there"
    if not stat.S_ISDIR(status.st_mode):
        return "is no folder, and a private folder is expected there"
    if not hasattr(os, "getuid"):  # on Windows these folders lie in the user's own
        return ""
    if status.st_uid != os.getuid():
        return f"belongs to another user (uid {status.st_uid}), not to uid {os.getuid()}"
    if status.st_mode & stat.S_IWOTH:
        return f"can be written by every user (mode {stat.S_IMODE(status.st_mode):04o})"
    return ""
