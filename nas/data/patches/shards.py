"""Decoded images as uint8 planes, in memory or in memory-mapped files."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

Planes = npt.NDArray[np.uint8]

_SHARD_BYTES = 2**30
_INDEX = "index.json"


@dataclass(frozen=True, slots=True)
class Decoded:
    """One image pair as planes: LR (3, h, w) and HR (3, scale h, scale w)."""

    name: str
    source: str
    lr: Planes
    hr: Planes


def planes(image: npt.NDArray[np.uint8]) -> Planes:
    """Turn (H, W, 3) into contiguous (3, H, W): a crop of planes is what a batch takes."""
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def load_shards(folder: Path) -> list[Decoded] | None:
    """Map what `write_shards` left in a folder; None when there is nothing complete."""
    # The index is written last, so a folder without one is not complete.
    index = folder / _INDEX
    if not index.is_file():
        return None
    entries = json.loads(index.read_text())
    maps = [np.memmap(file, dtype=np.uint8, mode="r") for file in sorted(folder.glob("*.u8"))]

    def view(shard: int, offset: int, shape: list[int]) -> Planes:
        # A plain array over the map: slicing a memmap costs several times more.
        return np.asarray(maps[shard])[offset : offset + int(np.prod(shape))].reshape(shape)

    return [
        Decoded(
            entry["name"],
            entry["source"],
            view(entry["shard"], entry["offset"], entry["lr"]),
            view(entry["shard"], entry["offset"] + int(np.prod(entry["lr"])), entry["hr"]),
        )
        for entry in entries
    ]


def write_shards(folder: Path, images: Iterable[Decoded]) -> list[Decoded]:
    """Write images one after the other into files of about 1 GiB and map them.

    The folder appears only when it is complete: a killed process leaves no half of it, and of two
    processes that write the same one the first wins.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f"{folder.name}.unfinished.", dir=folder.parent))

    # The index comes last, and the folder gets its name at the end.
    try:
        entries = _write_files(unfinished, images)
        (unfinished / _INDEX).write_text(json.dumps(entries, allow_nan=False))
        try:
            unfinished.rename(folder)
        except OSError:
            if load_shards(folder) is None:
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)

    mapped = load_shards(folder)
    assert mapped is not None
    return mapped


def _write_files(folder: Path, images: Iterable[Decoded]) -> list[dict[str, object]]:
    entries: list[dict[str, object]] = []
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

            entry = {"name": image.name, "source": image.source, "shard": shard, "offset": offset}
            entries.append(entry | {"lr": list(image.lr.shape), "hr": list(image.hr.shape)})
            offset += file.write(image.lr.tobytes()) + file.write(image.hr.tobytes())
    finally:
        if file is not None:
            file.close()
    return entries
