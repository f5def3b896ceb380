"""Scenes that two roles share: near-duplicates and crops are taken out of the lower role."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from nas.data.checks.exact_base import refuse_exact_base
from nas.data.duplicates.changed_crops import SMALLEST, ChangedCropFinder
from nas.data.duplicates.crops import CropFinder, Hashes, hash_tiles, is_smaller
from nas.data.duplicates.hashes import LIMIT, NUM_BITS, Hash, image_hash, nearest
from nas.data.duplicates.spots import Spots, find_spots
from nas.data.folders.places import Role
from nas.data.pixels.images import ImageError, read_image
from nas.data.progress import each
from nas.data.sets import Pair, Pixels

ABOVE: dict[Role, tuple[Role, ...]] = {"test": (), "val": ("test",), "train": ("test", "val")}
# Of HR files that are decoded for crops alone, because the training images are hashed from their LR
# files: 5 to 10 s on one core. They are spread evenly; where one of them is a crop, all are looked
# at.
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
    """What reading an image gave.

    Attributes:
        pair: the image.
        hash: of its HR file, or of its LR file where a training image has one.
        tiles, spots: of a val or test image, to find crops of it; None where none are looked for.
        cut_from: the image that it was cut from, and that one's role.
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


def drop_overlaps(pairs: dict[Role, list[Pair]], *, scale: int, progress: bool) -> Overlaps:
    """Take near-duplicates and crops of a higher role's images out of each lower role.

    Test stands above val, and val above train. A training image is hashed from its LR file where it
    has one: decoding the HR files of a large set takes minutes. Every other file is read whole, so
    that a damaged one is found before the search that would end over it. So is a val or test image
    that its bicubic base equals.
    """
    result = Overlaps({})
    kept: dict[Role, list[_Look]] = {}
    finders: dict[Role, _Finders] = {}
    for role in (role for role in ABOVE if role in pairs):  # the highest first
        above = {other: finders[other] for other in ABOVE[role] if other in finders}
        looks = _look_at_role(role, pairs, above, result, scale, progress)

        # Near-duplicates first: they are cheap to tell, and need no search for crops any more.
        for other in ABOVE[role]:
            looks = _drop_duplicates(role, looks, other, kept.get(other, []), result.notices)
        if role == "train":
            looks = _look_for_crops(looks, above, result, progress)
        looks = _look_for_changed(role, looks, above, result, progress)
        kept[role] = _drop_crops(role, looks, result.notices)

        if role != "train":
            finders[role] = _index_images(kept[role])
        result.pairs[role] = [look.pair for look in kept[role]]
    return result


def _look_at_role(
    role: Role,
    pairs: dict[Role, list[Pair]],
    above: dict[Role, _Finders],
    result: Overlaps,
    scale: int,
    progress: bool,
) -> list[_Look]:
    """Read the images of a role; those that cannot be used become problems."""
    # An image can only be cut into those of lower roles that are smaller.
    sizes_below = {pair.size for other in pairs if role in ABOVE[other] for pair in pairs[other]}

    def look_at(pair: Pair) -> _Look:
        return _look_at_image(pair, role, above, sizes_below, scale)

    looks = []
    for look in each(look_at, pairs[role], label=f"comparing {role} images", show=progress):
        if isinstance(look, ImageError):
            result.problems.append((role, look.path, look.reason))
        else:
            looks.append(look)
    return looks


def _look_at_image(
    pair: Pair,
    role: Role,
    above: dict[Role, _Finders],
    sizes_below: set[tuple[int, int]],
    scale: int,
) -> _Look:
    """Read one image, and look whether it was cut from one of a higher role."""
    if role == "train" and pair.lr is not None:
        return _Look(pair, image_hash(read_image(pair.lr)))

    lr = None if pair.lr is None else read_image(pair.lr)  # a damaged file is told now
    pixels = read_image(pair.hr)
    if role != "train":
        refuse_exact_base(pair, pixels, lr, scale)
    may_be_cut = any(is_smaller(size, pair.size) for size in sizes_below)
    return _Look(
        pair,
        image_hash(pixels),
        tiles=None if role == "train" else hash_tiles(pixels),
        spots=find_spots(pixels) if may_be_cut else None,
        cut_from=_find_whole(pixels, {other: finder.exact for other, finder in above.items()}),
    )


def _find_whole(
    pixels: Pixels, finders: Mapping[Role, CropFinder | ChangedCropFinder]
) -> tuple[Role, Pair] | None:
    """Find the image of the highest role that an image was cut from."""
    for role, finder in finders.items():
        whole = finder.find(pixels)
        if whole is not None:
            return role, whole
    return None


def _index_images(looks: Sequence[_Look]) -> _Finders:
    """Index the images of a role, so that crops of them are found."""
    tiled = [(look.pair, look.tiles) for look in looks if look.tiles is not None]
    spotted = [(look.pair, look.spots) for look in looks if look.spots is not None]
    return _Finders(
        CropFinder([pair for pair, _ in tiled], [tiles for _, tiles in tiled]),
        ChangedCropFinder([pair for pair, _ in spotted], [spots for _, spots in spotted]),
    )


def _drop_duplicates(
    role: Role, looks: list[_Look], other: Role, above: list[_Look], notices: list[str]
) -> list[_Look]:
    """Drop near-duplicates of another role's images; a notice for each."""
    if not looks or not above:
        return looks
    hashes = np.stack([look.hash for look in looks])
    index, bits = nearest(hashes, np.stack([look.hash for look in above]))
    # Each is named with its double: the user may take another one out.
    for i in np.flatnonzero(bits <= LIMIT):
        notices.append(
            f"dropped {looks[i].pair.hr} from {role}: near-duplicate of {above[index[i]].pair.hr} "
            f"in {other} ({bits[i]:.0f} of {NUM_BITS} bits of the image hash differ)"
        )
    return [look for look, is_far in zip(looks, bits > LIMIT, strict=True) if is_far]


def _look_for_crops(
    looks: list[_Look], above: dict[Role, _Finders], result: Overlaps, progress: bool
) -> list[_Look]:
    """Decode the HR files of training images that were hashed from LR and may be crops."""
    # Images that were hashed from HR were searched for crops on the way.
    finders = {other: finder.exact for other, finder in above.items()}
    suspects = [
        look
        for look in looks
        if look.pair.lr is not None
        and any(finder.fits(look.pair.size) for finder in finders.values())
    ]
    pixels = sum(look.pair.size[0] * look.pair.size[1] for look in suspects)
    step = -(-pixels // MAX_PIXELS)
    return _look_at_some("train", looks, suspects, finders, "crops", step, result, progress)


def _look_for_changed(
    role: Role, looks: list[_Look], above: dict[Role, _Finders], result: Overlaps, progress: bool
) -> list[_Look]:
    """Look at images that may be crops that were compressed or brightened since."""
    finders = {other: finder.changed for other, finder in above.items() if len(finder.changed)}
    suspects = [
        look
        for look in looks
        if look.cut_from is None
        and min(look.pair.size) >= SMALLEST
        and any(finder.fits(look.pair.size) for finder in finders.values())
    ]

    # Seconds on one core, measured: for an image, for what it is compared with, and for its pixels.
    num_spots = sum(len(finder) for finder in finders.values())
    pixels = sum(look.pair.size[0] * look.pair.size[1] for look in suspects)
    seconds = len(suspects) * (5e-3 + 1e-7 * num_spots) + 1e-7 * pixels
    step = math.ceil(seconds / MAX_SECONDS)
    return _look_at_some(role, looks, suspects, finders, "changed crops", step, result, progress)


def _look_at_some(
    role: Role,
    looks: list[_Look],
    suspects: list[_Look],
    finders: Mapping[Role, CropFinder | ChangedCropFinder],
    kind: str,
    step: int,
    result: Overlaps,
    progress: bool,
) -> list[_Look]:
    """Decode one of every `step` suspects, and the rest where one of these is a crop.

    Returns:
        All looks, with what was found; those that cannot be read are left out.
    """
    step = max(1, step)
    sample = suspects[::step]
    rest = [look for i, look in enumerate(suspects) if i % step]

    def find(look: _Look) -> tuple[Role, Pair] | None:
        return _find_whole(read_image(look.pair.hr), finders)

    # First the sample, then the rest if the sample holds a crop.
    cut_from: dict[int, tuple[Role, Pair]] = {}
    broken: set[int] = set()
    for part in (sample, rest):
        if part is rest and not cut_from:
            break
        answers = each(find, part, label=f"looking for {kind} in {role}", show=progress)
        for look, answer in zip(part, answers, strict=True):
            if isinstance(answer, ImageError):
                result.problems.append((role, answer.path, answer.reason))
                broken.add(id(look))
            elif answer is not None:
                cut_from[id(look)] = answer

    # A sample was enough: the user is told how much was looked at.
    if rest and not cut_from:
        adjective = {"train": "training"}.get(role, role)
        result.notices.append(
            f"{len(sample)} of {len(suspects)} {adjective} images that could be {kind} of judged "
            "ones were looked at, evenly spread: none is one"
        )
    return [
        replace(look, cut_from=cut_from.get(id(look), look.cut_from))
        for look in looks
        if id(look) not in broken
    ]


def _drop_crops(role: Role, looks: Sequence[_Look], notices: list[str]) -> list[_Look]:
    """Drop what was cut from an image of a higher role; a notice for each of those images."""
    # One notice for each whole image: a data set may hold hundreds of its crops.
    crops: dict[tuple[Role, Path], list[Path]] = {}
    for look in looks:
        if look.cut_from is not None:
            other, whole = look.cut_from
            crops.setdefault((other, whole.hr), []).append(look.pair.hr)

    for (other, whole_file), files in crops.items():
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        names = ", ".join(str(file) for file in files[:3])
        notices.append(f"dropped {names}{more} from {role}: crops of {whole_file} in {other}")
    return [look for look in looks if look.cut_from is None]
