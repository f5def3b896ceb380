"""Files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(path: Path, draft: Path) -> Iterator[Path]:
    """Yield the draft of a file, which takes the file's place where nothing was raised.

    What lies under the draft's name is removed first: a kill may have left it, and through a link, as a
    stranger's folder may hold it, another file would be written.

    Args:
        draft: in the same folder, which is made where it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft.unlink(missing_ok=True)
    try:
        yield draft
        os.replace(draft, path)
    except BaseException:  # such as a full disk
        draft.unlink(missing_ok=True)
        raise
