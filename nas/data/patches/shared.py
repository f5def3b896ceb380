"""The decoded training images of one command: made once, mapped by all its workers."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

from nas.data.patches.decoded import decode_images
from nas.data.patches.index import INDEX, DamageError
from nas.data.patches.shards import check_pixels, load_shards, remove_shards, write_shards
from nas.data.sets import ImageSet
from nas.system.files.owned_folder import OwnedFolder

_MIB = 2**20


class SharedImages:
    """Decoded images in files, made at the beginning of a block and removed at its end.

    It is sent to workers, which find in `folder` what they map. On another host, where that folder
    is not, they decode by themselves.

    Attributes:
        folder: what `load_shards` takes; None: nothing is shared.

    Example:
        >>> with SharedImages(images) as notices:  # images: the ImageSet of data.train
        ...     notices
        []
    """

    def __init__(
        self, images: ImageSet, *, cache: str | Path | None = None, memory_mib: float = 0.0
    ) -> None:
        """Remember what is to be made; nothing is read yet.

        Args:
            images: the training set.
            cache: a folder in which the files stay for later commands; None: the files lie in the
                folder for temporary files, and go.
            memory_mib: that a worker may hold by itself where there is no room for files.
        """
        self.folder: Path | None = None
        self._images = images
        self._cache = cache
        self._memory_mib = memory_mib
        self._owned: OwnedFolder | None = None

    def __getstate__(self) -> dict[str, object]:
        """Send a worker what it maps, and nothing that it could remove."""
        return {**vars(self), "_owned": None}

    def __enter__(self) -> list[str]:
        """Make the files, or find them in the cache; return what the user should know of it.

        Raises:
            ValueError: an image cannot be read and the set's `on_error` is stop.
            OSError: there is no room for the files, and in a worker's memory neither.
        """
        notices: list[str] = []
        size = self._images.num_bytes()
        try:
            if self._cache is not None:
                self.folder = open_cache(self._images, Path(self._cache), notices)
            else:
                _check_room(Path(tempfile.gettempdir()), size)
                self._owned = OwnedFolder()
                folder = self._owned.path / "images"
                decoded = decode_images(self._images, notices, progress=True)
                write_shards(folder, self._images, decoded)
                self.folder = folder
        except OSError as error:
            self._close()
            reason = _describe_lack(size, self._cache, error)
            if self._cache is not None or size > self._memory_mib * _MIB:
                raise OSError(reason) from error
            notices.append(f"{reason}; until then each worker holds them in memory")
        except BaseException:  # an image that cannot be read, or Ctrl-C
            self._close()
            raise
        return notices

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        self.folder = None
        if self._owned is not None:
            self._owned.close()
            self._owned = None


def open_cache(images: ImageSet, cache: Path, notices: list[str], *, progress: bool = True) -> Path:
    """Return the folder in a cache that holds a set's decoded images, whole and as written.

    It is made where it is missing or damaged.

    Args:
        notices: takes a line where it was damaged, and for each image that is skipped.
    Raises:
        ValueError, OSError: see `SharedImages.__enter__`.
    """
    folder = cache / f"{images.fingerprint}-{images.content_key}"
    try:
        if _is_whole(folder, images, notices, progress):
            return folder
    except DamageError as error:
        notices.append(f"data.cache: {folder} was damaged ({error}): its images are decoded again")
        with contextlib.suppress(FileNotFoundError):  # another process did it
            remove_shards(folder)

    _check_room(cache, images.num_bytes())
    write_shards(folder, images, decode_images(images, notices, progress=progress))
    return folder


def _is_whole(folder: Path, images: ImageSet, notices: list[str], progress: bool) -> bool:
    """Return whether a folder holds a set's decoded images; False: there is no such folder.

    Raises:
        DamageError: it holds something else.
    """
    if not os.path.lexists(folder):
        return False
    mapped = load_shards(folder, images)
    if mapped is None:
        raise DamageError(f"{INDEX} is missing")
    check_pixels(folder, mapped, progress=progress)
    if len(mapped) < len(images):
        notices.append(f"{len(images) - len(mapped)} images were skipped when {folder} was made")
    return True


def _check_room(place: Path, num_bytes: int) -> None:
    """Refuse a place without room before minutes of decoding fill it.

    Raises:
        OSError: it has less.
    """
    there = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
    if shutil.disk_usage(there).free < num_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))


def _describe_lack(num_bytes: int, cache: str | Path | None, error: OSError) -> str:
    """Say why decoded images cannot be kept in files, and the way out."""
    place = f"data.cache={cache}" if cache is not None else f"data.cache: {tempfile.gettempdir()}"
    reason = (error.strerror or str(error)).lower()
    return (
        f"{place} cannot take the decoded training images, {num_bytes / _MIB:.0f} MiB ({reason}); "
        "name a folder with room: data.cache=/path"
    )
