"""Digests of files' bytes: they say whether images are what they were when a run began."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from nas.data.pixels.images import ImageError
from nas.data.progress import each
from nas.system.files.drafts import replaced
from nas.system.files.user_cache import private_cache

# A file that changed so shortly before it was read may change again within one tick of its file
# system's clock: what was read of it is not remembered.
_SETTLED_NS = 2_000_000_000
_KEPT_BYTES = 2**26  # in a folder: smaller ones are read again in less than a tenth of a second
_LENGTH = 16  # bytes of a digest
# What reading a damaged cache raises.
_DAMAGE = (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError)

Stamp = tuple[int, int, int, int]  # size, times of the last change of bytes and of inode, inode
_known: dict[Path, tuple[Stamp, str]] = {}  # what this process has read


def digest_file(path: Path) -> str:
    """Return the digest of a file's bytes, in hexadecimal.

    A file that was read before is read again where its size, a time or its inode changed since.

    Raises:
        ImageError: it cannot be read.
    """
    try:
        stamp = _read_stamp(path)
        known = _known.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, _start_hash).hexdigest()
    except OSError as error:
        raise ImageError(path, f"cannot be read: {error.strerror or error}") from None

    if time.time_ns() - max(stamp[1], stamp[2]) > _SETTLED_NS:
        _known[path] = stamp, digest
    return digest


def digest_files(paths: Iterable[Path], *, label: str, progress: bool = True) -> dict[Path, str]:
    """Return the digests of files, by path; they are read in several threads.

    Those of large folders are kept in the user's cache, for the next command.

    Args:
        label: what is read, beside the bar.
        progress: whether a bar may be shown.
    Raises:
        ImageError: a file cannot be read.
    """
    files = list(dict.fromkeys(paths))
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(file.parent, []).append(file)
    large = [folder for folder, members in folders.items() if _sum_bytes(members) >= _KEPT_BYTES]
    for folder in large:
        _recall_digests(folder)

    digests: dict[Path, str] = {}
    for file, digest in zip(
        files, each(digest_file, files, label=label, show=progress), strict=True
    ):
        if isinstance(digest, ImageError):
            raise digest
        digests[file] = digest

    for folder in large:
        _keep_digests(folder)
    return digests


def _start_hash() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=_LENGTH)


def _read_stamp(path: Path) -> Stamp:
    """Return what changes with a file's bytes; nobody can set the time of its inode's change."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _sum_bytes(files: Sequence[Path]) -> int:
    with contextlib.suppress(OSError):  # one that is gone is named when it is read
        return sum(file.stat().st_size for file in files)
    return 0


# What is kept between commands: a file a folder, believed only where nobody else can write it.


def _recall_digests(folder: Path) -> None:
    """Take over what an earlier command kept of a folder; nothing where that cannot be read."""
    with contextlib.suppress(*_DAMAGE):
        kept = json.loads(_find_cache(folder).read_text(encoding="ascii"))
        if kept["check"] != _hash_entries(kept["files"]):
            return
        for name, (*stamp, digest) in kept["files"].items():
            size, changed, inode_changed, inode = map(int, stamp)
            _known.setdefault(folder / name, ((size, changed, inode_changed, inode), str(digest)))


def _keep_digests(folder: Path) -> None:
    """Keep what is known of a folder; a cache that cannot be written is done without."""
    entries = {
        path.name: [*stamp, digest]
        for path, (stamp, digest) in sorted(_known.items())
        if path.parent == folder
    }
    text = json.dumps({"check": _hash_entries(entries), "files": entries})
    with contextlib.suppress(OSError, ValueError):
        place = _find_cache(folder)
        if place.exists() and place.read_text(encoding="ascii") == text:
            return
        with replaced(place) as draft:
            draft.write_text(text, encoding="ascii")


def _find_cache(folder: Path) -> Path:
    """Return the file in which a folder's digests are kept."""
    name = hashlib.blake2b(os.fsencode(folder.absolute()), digest_size=_LENGTH).hexdigest()
    return private_cache("digests") / f"{name}.json"


def _hash_entries(entries: object) -> str:
    return hashlib.blake2b(json.dumps(entries).encode(), digest_size=_LENGTH).hexdigest()
