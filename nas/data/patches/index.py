"""The index of decoded images in files: what lies where, checked before anything is believed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nas.data.sets import ImageSet
from nas.system.schema.schema_rules import Count
from nas.system.schema.stored_schema import read_as

INDEX = "index.json"
VERSION = 2  # of the index; another one's files are made anew

Sides = tuple[Count, Count, Count]  # channels, height and width


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a pair lies: the number of its file, and the byte at which LR begins; HR follows it.

    Attributes:
        crc: CRC-32 of the bytes of both.
    """

    name: str
    source: str
    shard: Count
    offset: Count
    lr: Sides
    hr: Sides
    crc: Count

    @property
    def num_bytes(self) -> int:
        return int(np.prod(self.lr) + np.prod(self.hr))


class DamageError(ValueError):
    """Files of decoded images that are not as they were written; the message says in what."""


def read_index(path: Path) -> list[Entry]:
    """Read an index, every field of which has its type.

    Raises:
        DamageError: it is not what `write_shards` writes.
    """
    try:
        index = json.loads(path.read_bytes())
        if index["version"] != VERSION:
            raise DamageError(f"{path.name} is of version {index['version']!r}")
        return [read_as(Entry, entry) for entry in index["images"]]
    except DamageError:
        raise
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise DamageError(f"{path.name} cannot be read ({reason})") from None


def check_entries(entries: Sequence[Entry], images: ImageSet) -> None:
    """Refuse entries that are no images of a set; some may be missing, which were skipped.

    Raises:
        DamageError: they are not.
    """
    # In the set's order, with sides that follow from the files'.
    waiting = iter(images.pairs)
    for entry in entries:
        pair = next((pair for pair in waiting if pair.name == entry.name), None)
        if pair is None or pair.source != entry.source:
            raise DamageError(f"{INDEX} names {entry.name}, which is not the next image")
        height, width = (side // images.scale for side in pair.size)
        scaled = (3, height * images.scale, width * images.scale)
        is_known = pair.size != (0, 0)
        if is_known and (entry.lr, entry.hr) != ((3, height, width), scaled):
            raise DamageError(f"{INDEX} gives {entry.name} sides of {entry.lr} and {entry.hr}")

    num_missing = len(images) - len(entries)
    if num_missing and images.on_error == "stop":
        raise DamageError(f"{INDEX} lacks {num_missing} of {len(images)} images")
