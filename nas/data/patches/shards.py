"""Decoded images in memory-mapped files."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import numpy as np

from nas.data.patches.decoded import Decoded, Planes
from nas.data.patches.index import INDEX, VERSION, DamageError, Entry, check_entries, read_index
from nas.data.progress import each
from nas.data.sets import ImageSet
from nas.system.files.owned_folder import OwnedFolder

_SHARD_BYTES = 2**30


def load_shards(folder: Path, images: ImageSet) -> list[Decoded] | None:
    """Map what `write_shards` left in a folder; None where there is nothing complete.

    Args:
        images: the set that was decoded.
    Raises:
        DamageError: index or files are not those of this set. The pixels are not read; see
            `check_pixels`.
    """
    # The index is written last, so a folder without one is not complete.
    if not (folder / INDEX).is_file():
        return None
    entries = read_index(folder / INDEX)
    check_entries(entries, images)
    shards = _map_files(folder, entries)

    def view(entry: Entry) -> Decoded:
        # Plain arrays over the map: slicing a memmap costs several times more.
        start, middle = entry.offset, entry.offset + int(np.prod(entry.lr))
        lr, hr = (
            np.asarray(shards[entry.shard])[begin : begin + int(np.prod(shape))].reshape(shape)
            for begin, shape in ((start, entry.lr), (middle, entry.hr))
        )
        return Decoded(entry.name, entry.source, lr, hr)

    return [view(entry) for entry in entries]


def check_pixels(folder: Path, decoded: Sequence[Decoded], *, progress: bool) -> None:
    """Read all that `load_shards` mapped, and compare it with the sums that were written.

    It takes some second for each 4 GiB and core, and a disk's time to read them.

    Raises:
        DamageError: a byte changed.
    """
    entries = read_index(folder / INDEX)

    def sum_up(place: int) -> int:
        return _sum_planes(decoded[place])

    sums = each(sum_up, range(len(decoded)), label="checking decoded images", show=progress)
    for entry, crc in zip(entries, sums, strict=True):
        if crc != entry.crc:
            raise DamageError(f"the pixels of {entry.name} changed in {entry.shard:04d}.u8")


def write_shards(folder: Path, images: ImageSet, decoded: Iterable[Decoded]) -> list[Decoded]:
    """Write images one after the other into files of about 1 GiB and map them.

    The folder appears only when it is complete: a killed process leaves no half of it, and of two
    processes that write the same one the first wins.

    Args:
        images: the set that is decoded.
    Raises:
        OSError: there is no room, or the folder cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)

    # The index comes last, and the folder gets its name at the end.
    with OwnedFolder(folder.parent) as unfinished:
        draft = unfinished / folder.name
        draft.mkdir()
        entries = _write_files(draft, decoded)
        index = {"version": VERSION, "images": [asdict(entry) for entry in entries]}
        (draft / INDEX).write_text(json.dumps(index, allow_nan=False), encoding="ascii")
        try:
            draft.rename(folder)
        except OSError:
            if load_shards(folder, images) is None:
                raise

    mapped = load_shards(folder, images)
    assert mapped is not None
    return mapped


def remove_shards(folder: Path) -> None:
    """Remove a folder of decoded images; who has mapped it keeps what was mapped."""
    with OwnedFolder(folder.parent) as aside:
        folder.rename(aside / folder.name)  # at once: no other process finds half of it
        shutil.rmtree(aside / folder.name, ignore_errors=True)


def _sum_planes(image: Decoded) -> int:
    return zlib.crc32(image.hr.data, zlib.crc32(image.lr.data))


def _map_files(folder: Path, entries: Sequence[Entry]) -> list[Planes]:
    """Map the files of which entries tell.

    Raises:
        DamageError: a file is missing, or not as long as the entries say.
    """
    ends: list[int] = []
    for entry in entries:
        # One after the other, without a gap, in files that are numbered from 0.
        if entry.shard == len(ends) and entry.offset == 0:
            ends.append(0)
        if entry.shard != len(ends) - 1 or entry.offset != ends[-1]:
            raise DamageError(f"{INDEX} places {entry.name} at {entry.shard}:{entry.offset}")
        ends[-1] += entry.num_bytes

    shards: list[Planes] = []
    for number, end in enumerate(ends):
        file = folder / f"{number:04d}.u8"
        try:
            size = file.stat().st_size
            if size != end:
                raise DamageError(f"{file.name} holds {size} of {end} bytes")
            shards.append(np.memmap(file, dtype=np.uint8, mode="r"))
        except OSError as error:
            raise DamageError(f"{file.name}: {error.strerror or error}") from None
    return shards


def _write_files(folder: Path, images: Iterable[Decoded]) -> list[Entry]:
    entries: list[Entry] = []
    file: BinaryIO | None = None
    shard, offset = -1, 0
    try:
        for image in images:
            # A few large files: one a picture would cost an open file each.
            if file is None or offset > _SHARD_BYTES:
                if file is not None:
                    file.close()
                shard, offset = shard + 1, 0
                file = (folder / f"{shard:04d}.u8").open("wb")

            entries.append(
                Entry(
                    name=image.name,
                    source=image.source,
                    shard=shard,
                    offset=offset,
                    lr=image.lr.shape,
                    hr=image.hr.shape,
                    crc=_sum_planes(image),
                )
            )
            offset += file.write(image.lr.tobytes()) + file.write(image.hr.tobytes())
    finally:
        if file is not None:
            file.close()
    return entries
