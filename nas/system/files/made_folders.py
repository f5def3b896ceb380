"""Folders that are made for something, and removed where nothing came of it."""

import contextlib
import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path


def make_folders(folder: Path) -> list[Path]:
    """Make a folder; return it and its parents that were not there before, the innermost first.

    Raises:
        OSError: it cannot be made; then no parent stays either.
    """
    made = list(itertools.takewhile(lambda one: not one.exists(), (folder, *folder.parents)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        remove_folders(made)
        raise
    return made


def remove_folders(made: Sequence[Path]) -> None:
    """Remove what `make_folders` made; a folder in which something lies by now stays."""
    for folder in made:
        with contextlib.suppress(OSError):
            folder.rmdir()


def remove_path(path: Path) -> None:
    """Remove a file, a link or a whole folder; what is not there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
