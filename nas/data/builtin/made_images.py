"""Images that are made on this machine and kept in the user's cache, as files like any others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image

from nas.data.pixels.images import ImageError
from nas.data.progress import each
from nas.data.sets import Pixels
from nas.system.files.drafts import replaced
from nas.system.files.user_cache import user_cache
from nas.system.lock_waits import hold_file

DIGESTS = "digests.json"  # beside the files: what was written, by file name


def keep_images(
    folder: str, makers: Mapping[str, Callable[[], Pixels]], *, label: str, progress: bool
) -> list[Path]:
    """Return the files of images; those that are not there as they were written are made.

    The files are uncompressed, so a damaged one is as large as it was: each has a digest. A
    fingerprint knows them by their recipe (`Pair.made`).

    Args:
        folder: in the cache, below esr-nas/images; another content needs another name.
        makers: name without extension -> gives the pixels, (H, W, 3).
        label: what is done, beside the bar.
        progress: whether a bar may be shown.
    Raises:
        ValueError: the cache cannot be written, or an image that another is made from cannot be
            read.
    """
    place = user_cache("images") / folder
    files = {name: place / f"{name}.bmp" for name in makers}
    digests = _read_digests(place)
    if all(_is_whole(file, digests) for file in files.values()):
        return list(files.values())

    try:
        place.mkdir(parents=True, exist_ok=True)
        # Another process may be at it.
        with hold_file(place / ".lock", what=f"the images in {place}"):
            _make_missing(place, files, makers, label=label, progress=progress)
    except OSError as error:
        raise ValueError(
            f"{place} cannot be written ({error.strerror or error}): these images are made once "
            "and kept there; name another folder in XDG_CACHE_HOME"
        ) from None
    return list(files.values())


def _make_missing(
    place: Path,
    files: Mapping[str, Path],
    makers: Mapping[str, Callable[[], Pixels]],
    *,
    label: str,
    progress: bool,
) -> None:
    """Make the images that are not there as they were written, and note what was written."""
    digests = _read_digests(place)
    missing = [name for name, file in files.items() if not _is_whole(file, digests)]

    def make(name: str) -> str:
        with replaced(files[name], place / f".{name}.draft") as draft:
            Image.fromarray(makers[name]()).save(draft, format="BMP")
            return _hash_file(draft)

    try:
        for name, outcome in zip(
            missing, each(make, missing, label=label, show=progress), strict=True
        ):
            if isinstance(outcome, ImageError):
                raise outcome
            digests[files[name].name] = outcome
    finally:  # what is done is kept, whatever ended the rest
        with replaced(place / DIGESTS, place / f".{DIGESTS}.draft") as draft:
            draft.write_text(json.dumps(digests, indent=0, sort_keys=True))


def _read_digests(place: Path) -> dict[str, str]:
    """Return what was written, by file name; nothing where that cannot be read."""
    try:
        found = json.loads((place / DIGESTS).read_text())
    except (OSError, ValueError):
        return {}
    return dict(found) if isinstance(found, dict) else {}


def _is_whole(file: Path, digests: Mapping[str, str]) -> bool:
    """Return whether a file is as it was written: not cut, exchanged or damaged."""
    return file.name in digests and file.is_file() and _hash_file(file) == digests[file.name]


def _hash_file(file: Path) -> str:
    return hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
