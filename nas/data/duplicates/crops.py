"""Crops: images cut out of others pixel by pixel, anywhere, in all eight orientations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from nas.data.pixels.images import read_image
from nas.data.pixels.orientation import orientations
from nas.data.sets import Pair

Pixels = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]

_TILE = 8  # side in pixels: a tile of RGB is 24 whole words of 64 bits
_REGION = (
    2 * _TILE - 1
)  # every region of this side holds one whole tile of whatever grid it was cut from
_NUM_REGIONS = 3
_NUM_TURNS = 8
_GRID = 6  # regions looked at a side, of which those with most different values are taken
_MIN_VALUES = 6  # different ones in a region; flatter regions are alike in many images
_MAX_HITS = 16  # tiles of one hash that are followed up; more are a pattern
_SAME = 0.99  # of the values that have to be equal
_WEIGHTS = np.random.default_rng(0).integers(0, 2**63, (_TILE, 1, 3), dtype=np.uint64) * np.uint64(
    2
) + np.uint64(1)


class CropFinder:
    """Finds the image that another one was cut from, among images whose tiles it has hashed.

    A whole image is laid out in tiles of 8x8 pixels; their hashes are kept, 8 bytes for 64 pixels.
    What was cut from it holds, in any 15x15 pixels, one of these tiles whole. Three such regions
    are hashed at all 64
    places in all eight orientations, and what is found is compared pixel by pixel: a chance hit
    costs time, never a false answer.
    """

    def __init__(self, pairs: Sequence[Pair], tiles: Sequence[Hashes]) -> None:
        """Index images.

        Args:
            pairs: the images.
            tiles: of each, what `hash_tiles` gave.
        """
        self._pairs = list(pairs)
        self._shapes = [one.shape for one in tiles]
        hashes = (
            np.concatenate([one.ravel() for one in tiles])
            if tiles
            else np.zeros(0, dtype=np.uint64)
        )

        # All tiles in one sorted table: a hash is looked up by bisection.
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        sizes = [one.size for one in tiles]
        starts = np.cumsum([0, *sizes])

        self._image = np.repeat(np.arange(len(tiles), dtype=np.int32), sizes)[order]
        self._tile = (order - starts[self._image]).astype(np.int32) if tiles else order

    def fits(self, size: tuple[int, int]) -> bool:
        """Return whether an image of this height and width could be cut from one of these."""
        return any(is_smaller(size, pair.size) for pair in self._pairs)

    def find(self, pixels: Pixels) -> Pair | None:
        """Find the image that this one, (H, W, 3), was cut from; None where there is none."""
        if not len(self._hashes) or min(pixels.shape[:2]) < _REGION:
            return None
        corners = _choose_regions(pixels)

        # A crop may have been turned or mirrored, so each region is looked up in all eight ways.
        turned = [
            one
            for y, x in corners
            for one in orientations(pixels[y : y + _REGION, x : x + _REGION])
        ]

        for index, place, image, tile in self._look_up_tiles(turned):
            # An equal hash is a suspicion; the pixels around it decide.
            corner, turn = divmod(index, _NUM_TURNS)
            if self._is_cut_there(pixels, corners[corner], turn, place, image, tile):
                return self._pairs[image]
        return None

    def _look_up_tiles(self, regions: Sequence[Pixels]) -> Iterator[tuple[int, int, int, int]]:
        """Yield the known tiles in regions: the region, the place in it, the image, its tile."""
        if not regions:
            return
        hashes = _hash_places(np.stack(regions))
        # Hashes are sorted, and equal ones stand side by side.
        first = np.searchsorted(self._hashes, hashes, side="left")
        is_known = self._hashes[np.minimum(first, len(self._hashes) - 1)] == hashes
        for region, place in np.argwhere(is_known):
            start = first[region, place]
            # A hash with too many tiles is of something that repeats, and tells nothing.
            last = np.searchsorted(self._hashes, hashes[region, place], side="right")
            for k in range(start, last if last - start <= _MAX_HITS else start):
                yield int(region), int(place), int(self._image[k]), int(self._tile[k])

    def _is_cut_there(
        self, pixels: Pixels, corner: tuple[int, int], turn: int, place: int, image: int, tile: int
    ) -> bool:
        """Compare all pixels where one tile agrees."""
        turned = orientations(pixels)[turn]

        # Where the region lies after the turn, followed by marking it.
        marks = np.zeros((*pixels.shape[:2], 1), dtype=np.uint8)
        marks[corner[0] : corner[0] + _REGION, corner[1] : corner[1] + _REGION] = 1
        y, x, _ = np.argwhere(orientations(marks)[turn])[0]

        # From tile and place in the region to where the whole crop would lie.
        row, column = divmod(tile, self._shapes[image][1])
        top = row * _TILE - (int(y) + place // _TILE)
        left = column * _TILE - (int(x) + place % _TILE)

        whole = read_image(self._pairs[image].hr)
        height, width = turned.shape[:2]
        if top < 0 or left < 0 or top + height > whole.shape[0] or left + width > whole.shape[1]:
            return False
        return bool((whole[top : top + height, left : left + width] == turned).mean() >= _SAME)


def is_smaller(size: tuple[int, int], whole: tuple[int, int]) -> bool:
    """Return whether an image of one size could be cut, upright or turned, from one of another."""
    (low, high), (whole_low, whole_high) = sorted(size), sorted(whole)
    return low <= whole_low and high <= whole_high and (low, high) != (whole_low, whole_high)


def hash_tiles(pixels: Pixels) -> Hashes:
    """Hash the 8x8 tiles of an image, (H, W, 3) -> (H // 8, W // 8)."""
    rows, columns = pixels.shape[0] // _TILE, pixels.shape[1] // _TILE
    whole = np.ascontiguousarray(pixels[: rows * _TILE, : columns * _TILE])
    words = whole.reshape(rows, _TILE, -1).view(np.uint64).reshape(rows, _TILE, columns, 3)
    return np.asarray((words * _WEIGHTS).sum(axis=(1, 3), dtype=np.uint64))


def _hash_places(regions: Pixels) -> Hashes:
    """Hash the 64 tiles in each of N regions, (N, 15, 15, 3) -> (N, 64), row by row."""
    windows = np.lib.stride_tricks.sliding_window_view(regions, (_TILE, _TILE), axis=(1, 2))
    tiles = np.ascontiguousarray(windows.transpose(0, 1, 2, 4, 5, 3))
    words = tiles.reshape(len(regions), _TILE * _TILE, _TILE, -1).view(np.uint64)
    return np.asarray((words * _WEIGHTS[:, 0]).sum(axis=(2, 3), dtype=np.uint64))


def _choose_regions(pixels: Pixels) -> list[tuple[int, int]]:
    """Choose the regions of a grid with most different values, by their top left corners.

    A flat image has none.

    Contrast alone would take lettering and checks, which repeat.
    """
    ys, xs = (
        np.unique(np.linspace(0, side - _REGION, _GRID).astype(int)) for side in pixels.shape[:2]
    )
    # Regions with many values are found again without mistake; a sky looks like any other.
    num_values = {
        (int(y), int(x)): np.count_nonzero(
            np.bincount(pixels[y : y + _REGION, x : x + _REGION].ravel(), minlength=1)
        )
        for y in ys
        for x in xs
    }

    best = sorted(num_values, key=lambda corner: -num_values[corner])[:_NUM_REGIONS]
    return [corner for corner in best if num_values[corner] >= _MIN_VALUES]
