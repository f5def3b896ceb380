"""Files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(path: Path, draft: Path | None = None) -> Iterator[Path]:
    """Yield the draft of a file, which takes the file's place where nothing was raised.

    What lies under the draft's name is removed first: a kill may have left it, and through a link,
    as a stranger's folder may hold it, another file would be written.

    Args:
        draft: in the same folder, which is made where it is missing; None: a hidden file of this
            process.
    """
    draft = draft or path.with_name(f".{path.name}.{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft.unlink(missing_ok=True)

    try:
        yield draft
        os.replace(draft, path)
    except BaseException:  # such as a full disk
        draft.unlink(missing_ok=True)
        raise


def check_target(key: str, path: str, kind: str) -> None:
    """Refuse a file that could not be written, before anything is computed.

    Args:
        key: what the path was given as, for the message.
        kind: what the file is, such as "CSV file".
    Raises:
        ValueError: the path is a folder, or its folder is not there.
    """
    target = Path(path)
    if target.is_dir() or not target.parent.is_dir():
        reason = "is a folder" if target.is_dir() else f"there is no folder {target.parent}"
        raise ValueError(f"{key}={path}: {reason}; name a {kind} in a folder that is there")
