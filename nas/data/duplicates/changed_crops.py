"""Changed crops: cut out of other images, then compressed, brightened, greyed or noisy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from nas.data.duplicates.crops import is_smaller
from nas.data.duplicates.spots import (
    HALF,
    NUM_WORDS,
    Floats,
    Pixels,
    Spots,
    even_detail,
    find_spots,
    turn_place,
    turn_signs,
)
from nas.data.pixels.images import read_image
from nas.data.pixels.orientation import orientations
from nas.data.sets import Pair

SMALLEST = 40  # side in pixels of what is looked for

_NUM_SPOTS = 10  # of an image that are looked up
_CHUNK = 8192  # spots that are compared at a time
_ALIKE = 0.88  # cosine of what describes two spots
_NUM_CANDIDATES = 16
_WINDOW = 48  # side of the part of the image at half its size that is compared first
_HOPELESS, _ROUGH = 0.2, 0.45  # correlation there: of a place, and of the best around it
_MARGIN = 6  # pixels at the edges of a crop whose detail depends on what was cut off
_REACH = 3  # pixels by which a place found at half the size may be off
_SAME = 0.93  # correlation of the detail at full size
# A single edge, or a pattern, is alike in many images: a crop needs detail that is not like itself
# a few pixels on. Measured on Set14, BSD100 and BSDS200: true crops correlate with their images at
# 0.96 and more, and with themselves at 0.62 at most in 99 %; what was wrongly alike at 0.8 and more
# had 0.85 and more there.
_LEAST_DETAIL = 650.0
_LIKE_ITSELF = 0.75
_SHIFTS = range(8, 21)  # pixels by which it is moved against itself


class ChangedCropFinder:
    """Finds the image that a changed crop was cut from, at its size, in all orientations.

    The strongest spots of an image are looked up among the spots of all others. Each of the most
    alike says where in which image it would have been cut; there the detail is compared, at half
    the size and then at full size. Spots alone never decide.
    """

    def __init__(self, pairs: Sequence[Pair], spots: Sequence[Spots]) -> None:
        """Index images.

        Args:
            pairs: the images.
            spots: of each, what `find_spots` gave.
        """
        self._pairs = list(pairs)
        self._details = [one.detail for one in spots]
        self._image = np.repeat(np.arange(len(spots)), [len(one.places) for one in spots])
        self._places = np.concatenate([np.zeros((0, 2), np.int32), *(one.places for one in spots)])
        signs = [one.signs.reshape(-1, NUM_WORDS) for one in spots]
        self._signs = np.concatenate([np.zeros((0, NUM_WORDS), np.float32), *signs]).T.copy()
        self._read_grey = lru_cache(maxsize=8)(_read_grey)

    def __len__(self) -> int:
        """Return the number of spots that are known."""
        return len(self._image)

    def fits(self, size: tuple[int, int]) -> bool:
        """Return whether an image of this height and width could be cut from one of these."""
        return any(is_smaller(size, pair.size) for pair in self._pairs)

    def find(self, pixels: Pixels) -> Pair | None:
        """Find the image that this one, (H, W, 3), was cut from; None where there is none."""
        if not len(self) or min(pixels.shape[:2]) < SMALLEST:
            return None
        spots = find_spots(pixels)
        grey = np.asarray(Image.fromarray(pixels).convert("L"))

        for turn, image, top, left in self._propose_places(spots):
            small = orientations(spots.detail[..., None])[turn][..., 0]
            place = _compare_roughly(small, self._details[image], top, left)
            if place is None:
                continue

            # At full size only where half the size agrees: it takes the image from disk.
            turned = orientations(grey[..., None])[turn][..., 0]
            whole = self._read_grey(self._pairs[image].hr)
            if _is_same_detail(turned, whole, HALF * place[0], HALF * place[1]):
                return self._pairs[image]
        return None

    def _propose_places(self, spots: Spots) -> Iterator[tuple[int, int, int, int]]:
        """Yield turn, image, top and left (at half the size) that the most alike spots propose."""
        num = min(_NUM_SPOTS, len(spots.places))
        wanted = turn_signs(spots.signs[:num]).reshape(-1, NUM_WORDS)
        best, alike = self._find_most_alike(wanted)

        seen = set()
        for k in np.argsort(-alike)[:_NUM_CANDIDATES]:
            if alike[k] < _ALIKE:
                return
            turn, spot = divmod(int(k), num)
            row, column = spots.places[spot]
            y, x = turn_place((int(row), int(column)), spots.detail.shape, turn)
            row, column = self._places[best[k]]

            # Where the crop's corner would lie, if both spots are one place of the scene.
            found = turn, int(self._image[best[k]]), int(row) - y, int(column) - x
            if found not in seen:
                seen.add(found)
                yield found

    def _find_most_alike(self, wanted: Floats) -> tuple[npt.NDArray[np.intp], Floats]:
        """Find the known spot most alike each of (N, 16), and its cosine."""
        best = np.zeros(len(wanted), dtype=np.intp)
        alike = np.full(len(wanted), -1.0, dtype=np.float32)
        rows = np.arange(len(wanted))

        # Chunk by chunk, so that the cosines of a large set fit in memory.
        for start in range(0, len(self) if len(wanted) else 0, _CHUNK):
            cosines = wanted @ self._signs[:, start : start + _CHUNK]
            index = cosines.argmax(axis=1)
            is_better = cosines[rows, index] > alike
            best[is_better] = start + index[is_better]
            alike = np.maximum(alike, cosines[rows, index])
        return best, alike


def _read_grey(path: Path) -> Pixels:
    return np.asarray(Image.fromarray(read_image(path)).convert("L"))


def _compare_roughly(
    small: npt.NDArray[np.int8], whole: npt.NDArray[np.int8], top: int, left: int
) -> tuple[int, int] | None:
    """Find the place next to this one where a crop's middle agrees best; None: it does not."""
    height, width = min(small.shape[0] - 4, _WINDOW), min(small.shape[1] - 4, _WINDOW)
    y, x = (small.shape[0] - height) // 2, (small.shape[1] - width) // 2
    part = small[y : y + height, x : x + width].astype(np.float32)

    def agreement(step: tuple[int, int]) -> float:
        row, column = top + y + step[0], left + x + step[1]
        # Beyond the image there is nothing to agree with.
        if row < 0 or column < 0:
            return -1.0
        other = whole[row : row + height, column : column + width]
        return _correlate(part, other.astype(np.float32)) if other.shape == part.shape else -1.0

    steps = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    # Most suspects are no crops: one look at the very place is enough for them.
    if agreement((0, 0)) < _HOPELESS:
        return None
    best = max(steps, key=agreement)
    return (top + best[0], left + best[1]) if agreement(best) >= _ROUGH else None


def _is_same_detail(crop: Pixels, whole: Pixels, top: int, left: int) -> bool:
    """Return whether the detail of a grey image is that of another around this place."""
    height, width = crop.shape
    if height > whole.shape[0] or width > whole.shape[1]:
        return False
    detail = even_detail(crop.astype(np.float32), 1.5)[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    if np.square(detail).sum() < _LEAST_DETAIL or _correlate_with_itself(detail) > _LIKE_ITSELF:
        return False

    # The places that are tried, and the part of the other image that they cover.
    tops = _list_near_places(top, whole.shape[0] - height)
    lefts = _list_near_places(left, whole.shape[1] - width)
    region = whole[tops[0] : tops[-1] + height, lefts[0] : lefts[-1] + width]
    other = even_detail(region.astype(np.float32), 1.5)
    shifts = [(y - tops[0] + _MARGIN, x - lefts[0] + _MARGIN) for y in tops for x in lefts]
    return any(
        _correlate(detail, other[y : y + detail.shape[0], x : x + detail.shape[1]]) >= _SAME
        for y, x in shifts
    )


def _correlate_with_itself(detail: Floats) -> float:
    """Compute the highest correlation of detail with itself, moved by `_SHIFTS`."""
    size = [side + _SHIFTS[-1] for side in detail.shape]
    spectrum = np.abs(np.fft.rfft2(detail, size)) ** 2
    likeness = np.fft.irfft2(spectrum, size)
    far = _SHIFTS[-1]

    # Correlation per pixel that both cover; small overlaps say nothing.
    y, x = np.mgrid[0 : far + 1, -far : far + 1]
    moved = np.hypot(y, x)
    covered = (detail.shape[0] - y) * (detail.shape[1] - np.abs(x)) / detail.size
    asked = (moved >= _SHIFTS[0]) & (moved <= far) & (covered > 0.25)
    values = likeness[y, x] / np.maximum(covered, 0.25) / np.square(detail).sum()
    return float(values[asked].max(initial=0.0))


def _list_near_places(place: int, last: int) -> range:
    """Return the places that may be meant, of 0 to `last`."""
    middle = min(max(place, 0), last)
    return range(max(0, middle - _REACH), min(last, middle + _REACH) + 1)


def _correlate(one: Floats, other: Floats) -> float:
    norms = float(np.vdot(one, one)) * float(np.vdot(other, other))
    return float(np.vdot(one, other)) / float(np.sqrt(norms + 1e-6))
