"""Images that are made on this machine and kept in the user's cache, as files like any others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image

from nas.data.images import ImageError
from nas.data.progress import each
from nas.data.sets import Pixels
from nas.system.drafts import replaced
from nas.system.file_locks import FileLock
from nas.system.user_cache import user_cache


def keep_images(
    folder: str, makers: Mapping[str, Callable[[], Pixels]], *, label: str, progress: bool
) -> list[Path]:
    """Return the files of images; those that are not there yet are made and written.

    The files are uncompressed: their sizes, which fingerprints hold, are the same everywhere.

    Args:
        folder: in the cache, below esr-nas/images; another content needs another name.
        makers: name without extension -> gives the pixels, (H, W, 3).
        label: what is done, beside the bar.
        progress: whether a bar may be shown.
    Raises:
        ValueError: the cache cannot be written, or an image that another is made from cannot be read.
    """
    place = user_cache("images") / folder
    files = {name: place / f"{name}.bmp" for name in makers}
    if all(file.is_file() for file in files.values()):
        return list(files.values())
    try:
        place.mkdir(parents=True, exist_ok=True)
        with FileLock(place / ".lock"):  # another process may be at it
            missing = [name for name, file in files.items() if not file.is_file()]

            def write(name: str) -> None:
                with replaced(files[name], place / f".{name}.draft") as draft:
                    Image.fromarray(makers[name]()).save(draft, format="BMP")

            for outcome in each(write, missing, label=label, show=progress):
                if isinstance(outcome, ImageError):
                    raise outcome
    except OSError as error:
        raise ValueError(
            f"{place} cannot be written ({error.strerror or error}): these images are made once and kept "
            "there; name another folder in XDG_CACHE_HOME"
        ) from None
    return list(files.values())
