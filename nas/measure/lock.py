"""One latency at a time on a device: a lock that all of a user's processes share and no crash leaves."""

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive(device_id: str, *, folder: Path | None = None) -> Iterator[None]:
    """Hold a device alone; waits until whoever holds it is done.

    The kernel frees the lock when its holder dies. It is not reentrant: a second `with` inside the first
    would wait for itself.

    Args:
        device_id: names the device, such as "cpu" or a GPU's UUID.
        folder: where the lock files lie; None: the user's own folder on this machine.
    Raises:
        OSError: the lock file cannot be made.
    """
    folder = folder or lock_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', device_id)}.lock"
    # The file stays: unlinking it would race with whoever waits for it.
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)  # also for children that were forked meanwhile
        os.close(handle)


def lock_folder() -> Path:
    """The folder of the lock files: local to the machine, one a user."""
    return Path(tempfile.gettempdir()) / f"esr-nas-{os.getuid()}"
