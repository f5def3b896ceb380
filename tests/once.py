"""Folders that take seconds to make: once a test run, not once a process of pytest-xdist."""

import os
from pathlib import Path

from filelock import FileLock


def make_once(tmp_path_factory, name: str, make) -> Path:
    """Return a folder that all processes of a test run share; nobody changes what it holds.

    Args:
        name: of the folder, one for each `make`.
        make: fills the folder; the first process that asks runs it, the others wait.
    """
    root = tmp_path_factory.getbasetemp()
    # A process of pytest-xdist has a folder of its own within that of the run.
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder, is_made = root / f"once-{name}", root / f"once-{name}.made"
    with FileLock(root / f"once-{name}.lock"):
        if not is_made.exists():
            folder.mkdir()
            make(folder)
            is_made.touch()
    return folder
