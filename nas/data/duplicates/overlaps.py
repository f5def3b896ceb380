"""What two roles share: near-duplicates and crops, taken out of the lower role."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from nas.data.duplicates.changed_crops import SMALLEST, ChangedCropFinder
from nas.data.duplicates.crops import CropFinder, Hashes, hash_tiles, is_smaller
from nas.data.duplicates.hashes import LIMIT, NUM_BITS, Hash, image_hash, nearest
from nas.data.duplicates.spots import Spots, find_spots
from nas.data.folders.places import Role
from nas.data.pixels.images import ImageError, read_image
from nas.data.progress import each
from nas.data.sets import Pair, Pixels

ABOVE: dict[Role, tuple[Role, ...]] = {"test": (), "val": ("test",), "train": ("test", "val")}
# Of HR files that are decoded for crops alone, because the training images are hashed from their LR files:
# 5 to 10 s on one core. They are spread evenly; where one of them is a crop, all are looked at.
MAX_PIXELS = 100_000_000
MAX_SECONDS = 6.0  # of one core, estimated, for looking for changed crops; spread in the same way


@dataclass(frozen=True, slots=True)
class Overlaps:
    """What is left of each role.

    Attributes:
        pairs: without what a higher role shows too.
        notices: what was dropped and why, an image a line.
        problems: files that cannot be read.
    """

    pairs: dict[Role, list[Pair]]
    notices: list[str] = field(default_factory=list)
    problems: list[tuple[Role, Path, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Look:
    """What reading an image gave: its hash, its tiles and spots if others may be cut from it, what it was
    cut from.
    """

    pair: Pair
    hash: Hash
    tiles: Hashes | None = None
    spots: Spots | None = None
    cut_from: tuple[Role, Pair] | None = None


@dataclass(frozen=True, slots=True)
class _Finders:
    """What finds crops of the images of one role: as they were cut, and changed since."""

    exact: CropFinder
    changed: ChangedCropFinder


def drop_overlaps(pairs: dict[Role, list[Pair]], *, progress: bool) -> Overlaps:
    """Take near-duplicates and crops of a higher role's images out of each lower role.

    Test stands above val, and val above train. A training image is hashed from its LR file where it
    has one: decoding the HR files of a large set takes minutes. Every other file is read whole, so that a
    damaged one is found before the search that would end over it.
    """
    result = Overlaps({})
    looks: dict[Role, list[_Look]] = {}
    finders: dict[Role, _Finders] = {}
    for role in (one for one in ABOVE if one in pairs):
        above = {other: finders[other] for other in ABOVE[role] if other in finders}
        below = {pair.size for other in pairs if role in ABOVE[other] for pair in pairs[other]}

        def look(
            pair: Pair,
            role: Role = role,
            above: dict[Role, _Finders] = above,
            below: set[tuple[int, int]] = below,
        ) -> _Look:
            return _look(pair, role, above, below)

        seen = []
        for one in each(look, pairs[role], label=f"comparing {role} images", show=progress):
            if isinstance(one, ImageError):
                result.problems.append((role, one.path, one.reason))
            else:
                seen.append(one)
        for other in ABOVE[role]:
            seen = _drop_duplicates(role, seen, other, looks.get(other, []), result.notices)
        if role == "train":
            seen = _look_for_crops(seen, above, result, progress)
        seen = _look_for_changed(role, seen, above, result, progress)
        looks[role] = _drop_crops(role, seen, result.notices)
        if role != "train":
            finders[role] = _index(looks[role])
        result.pairs[role] = [one.pair for one in looks[role]]
    return result


def _look(
    pair: Pair, role: Role, above: dict[Role, _Finders], below: set[tuple[int, int]]
) -> _Look:
    if role == "train" and pair.lr is not None:
        return _Look(pair, image_hash(read_image(pair.lr)))
    if pair.lr is not None:
        read_image(pair.lr)
    pixels = read_image(pair.hr)
    return _Look(
        pair,
        image_hash(pixels),
        tiles=None if role == "train" else hash_tiles(pixels),
        spots=find_spots(pixels) if any(is_smaller(size, pair.size) for size in below) else None,
        cut_from=_find(pixels, {other: one.exact for other, one in above.items()}),
    )


def _find(
    pixels: Pixels, finders: Mapping[Role, CropFinder | ChangedCropFinder]
) -> tuple[Role, Pair] | None:
    """What an image was cut from, of the highest role."""
    found = ((other, finder.find(pixels)) for other, finder in finders.items())
    return next(((other, whole) for other, whole in found if whole is not None), None)


def _index(seen: Sequence[_Look]) -> _Finders:
    tiled = [(one.pair, one.tiles) for one in seen if one.tiles is not None]
    spotted = [(one.pair, one.spots) for one in seen if one.spots is not None]
    return _Finders(
        CropFinder([pair for pair, _ in tiled], [tiles for _, tiles in tiled]),
        ChangedCropFinder([pair for pair, _ in spotted], [spots for _, spots in spotted]),
    )


def _drop_duplicates(
    role: Role, seen: list[_Look], other: Role, above: list[_Look], notices: list[str]
) -> list[_Look]:
    if not seen or not above:
        return seen
    index, bits = nearest(
        np.stack([one.hash for one in seen]), np.stack([one.hash for one in above])
    )
    for i in np.flatnonzero(bits <= LIMIT):
        notices.append(
            f"dropped {seen[i].pair.hr} from {role}: near-duplicate of {above[index[i]].pair.hr} in {other} "
            f"({bits[i]:.0f} of {NUM_BITS} bits of the image hash differ)"
        )
    return [one for one, far in zip(seen, bits > LIMIT, strict=True) if far]


def _look_for_crops(
    seen: list[_Look], above: dict[Role, _Finders], result: Overlaps, progress: bool
) -> list[_Look]:
    """Decode the HR files of training images that were hashed from LR and are small enough to be crops."""
    finders = {other: one.exact for other, one in above.items()}
    waiting = [
        one
        for one in seen
        if one.pair.lr is not None
        and any(finder.fits(one.pair.size) for finder in finders.values())
    ]
    pixels = sum(one.pair.size[0] * one.pair.size[1] for one in waiting)
    step = -(-pixels // MAX_PIXELS)
    return _look_at("train", seen, waiting, finders, "crops", step, result, progress)


def _look_for_changed(
    role: Role, seen: list[_Look], above: dict[Role, _Finders], result: Overlaps, progress: bool
) -> list[_Look]:
    """Look at what is no crop as it stands, but could be one that was saved as JPEG or brightened."""
    finders = {other: one.changed for other, one in above.items() if len(one.changed)}
    waiting = [
        one
        for one in seen
        if one.cut_from is None
        and min(one.pair.size) >= SMALLEST
        and any(finder.fits(one.pair.size) for finder in finders.values())
    ]
    # Measured on one core: an image, its pixels, what it is compared with.
    num_spots = sum(len(finder) for finder in finders.values())
    pixels = sum(one.pair.size[0] * one.pair.size[1] for one in waiting)
    seconds = len(waiting) * (5e-3 + 1e-7 * num_spots) + 1e-7 * pixels
    step = math.ceil(seconds / MAX_SECONDS)
    return _look_at(role, seen, waiting, finders, "changed crops", step, result, progress)


def _look_at(
    role: Role,
    seen: list[_Look],
    waiting: list[_Look],
    finders: Mapping[Role, CropFinder | ChangedCropFinder],
    kind: str,
    step: int,
    result: Overlaps,
    progress: bool,
) -> list[_Look]:
    """Decode one of every `step` waiting images, and the rest where one of these is a crop."""
    step = max(1, step)
    chosen, rest = waiting[::step], [one for i, one in enumerate(waiting) if i % step]

    def find(one: _Look) -> tuple[Role, Pair] | None:
        return _find(read_image(one.pair.hr), finders)

    cut_from: dict[int, tuple[Role, Pair]] = {}
    broken: set[int] = set()
    for part in (chosen, rest):
        if part is rest and not cut_from:
            break
        answers = each(find, part, label=f"looking for {kind} in {role}", show=progress)
        for one, answer in zip(part, answers, strict=True):
            if isinstance(answer, ImageError):
                result.problems.append((role, answer.path, answer.reason))
                broken.add(id(one))
            elif answer is not None:
                cut_from[id(one)] = answer
    if rest and not cut_from:
        called = {"train": "training"}.get(role, role)
        result.notices.append(
            f"{len(chosen)} of {len(waiting)} {called} images that could be {kind} of judged ones were "
            "looked at, evenly spread: none is one"
        )
    return [
        replace(one, cut_from=cut_from.get(id(one), one.cut_from))
        for one in seen
        if id(one) not in broken
    ]


def _drop_crops(role: Role, seen: Sequence[_Look], notices: list[str]) -> list[_Look]:
    """Take out what was cut from an image of a higher role; a line for each of these images."""
    crops: dict[tuple[Role, Path], list[Path]] = {}
    for one in seen:
        if one.cut_from is not None:
            other, whole = one.cut_from
            crops.setdefault((other, whole.hr), []).append(one.pair.hr)
    for (other, whole_file), files in crops.items():
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        names = ", ".join(str(file) for file in files[:3])
        notices.append(f"dropped {names}{more} from {role}: crops of {whole_file} in {other}")
    return [one for one in seen if one.cut_from is None]
