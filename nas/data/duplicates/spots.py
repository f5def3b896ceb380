"""Spots: places of an image that look alike after it was cut, changed or turned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

HALF = 2  # spots are looked for at half the size, where the noise of coding is gone
NUM_WORDS = 16  # numbers that describe a spot

_BLUR = 1.5
_APART = 7  # side of the window in which a spot is the strongest
_WEAKEST = 0.6  # curvature in squared grey levels; weaker spots are noise
_RADIUS = 6  # pixels around a spot that describe it
_KEPT = 4  # low frequencies a side that describe it
_FAINT = 2.0  # detail in grey levels that counts half


@dataclass(frozen=True, slots=True)
class Spots:
    """The spots of an image at half its size, the strongest first.

    Attributes:
        places: row and column, (N, 2).
        signs: what describes each, of norm 1, (N, 4, 4): low frequencies around it without the
            mean.
        detail: of the whole image, from -127 to 127, (H / 2, W / 2).
    """

    places: npt.NDArray[np.int32]
    signs: Floats
    detail: npt.NDArray[np.int8]


def find_spots(pixels: Pixels) -> Spots:
    """Find the spots of an image, (H, W, 3); a flat one has none."""
    grey = np.asarray(Image.fromarray(pixels).convert("L").reduce(HALF), dtype=np.float32)
    smooth = ndimage.gaussian_filter(grey, _BLUR, truncate=3)
    curved = _measure_curvature(smooth)

    # The strongest of their surroundings, where all that describes them is inside.
    is_spot = (curved == ndimage.maximum_filter(curved, _APART)) & (curved > _WEAKEST)
    inside = np.zeros_like(is_spot)
    inside[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS] = True
    is_spot &= inside
    order = np.argsort(-curved[is_spot], kind="stable")
    places = np.argwhere(is_spot)[order].astype(np.int32)

    detail = np.clip(np.rint(even_detail(grey, 1.0) * 32), -127, 127).astype(np.int8)
    return Spots(places, _describe_spots(smooth, places), detail)


def even_detail(grey: Floats, sigma: float) -> Floats:
    """Compute the fine detail, as strong in faint texture as at an edge, (H, W) -> (H, W)."""
    fine = ndimage.gaussian_filter(grey, sigma, truncate=3)
    band = fine - ndimage.gaussian_filter(grey, 3 * sigma, truncate=3)

    power = ndimage.uniform_filter(np.square(band), int(8 * sigma) | 1)
    return np.asarray(band / np.sqrt(np.maximum(power, 0) + _FAINT**2), dtype=np.float32)


def turn_signs(signs: Floats) -> Floats:
    """Describe spots in the order of `orientations`, (N, 4, 4) -> (8, N, 16).

    A mirrored image changes the signs of the odd frequencies, a transposed one transposes them.
    """
    parity = np.where(np.arange(_KEPT) % 2, -1.0, 1.0).astype(np.float32)
    columns, rows = parity, parity[:, None]
    turned = [
        part
        for one in (signs, signs.transpose(0, 2, 1))
        for part in (one, one * columns, one * columns * rows, one * rows)
    ]
    return np.stack(turned).reshape(len(turned), len(signs), NUM_WORDS)


def turn_place(place: tuple[int, int], size: tuple[int, int], turn: int) -> tuple[int, int]:
    """Return where a pixel of an image of this size lies in one of its `orientations`."""
    (y, x), (height, width) = place, size
    # From the fourth on an orientation is transposed first, then turned like the others.
    if turn >= 4:
        y, x, height, width = x, y, width, height
    if turn % 4 in (1, 2):
        x = width - 1 - x
    if turn % 4 in (2, 3):
        y = height - 1 - y
    return y, x


def _measure_curvature(smooth: Floats) -> Floats:
    """Compute the determinant of second derivatives: high at blobs, about 0 along an edge."""
    padded = np.pad(smooth, 1, mode="edge")
    yy = padded[2:, 1:-1] + padded[:-2, 1:-1] - 2 * smooth
    xx = padded[1:-1, 2:] + padded[1:-1, :-2] - 2 * smooth
    xy = (padded[2:, 2:] + padded[:-2, :-2] - padded[2:, :-2] - padded[:-2, 2:]) / 4
    return np.asarray(yy * xx - xy * xy, dtype=np.float32)


def _describe_spots(smooth: Floats, places: npt.NDArray[np.int32]) -> Floats:
    steps = np.arange(-_RADIUS, _RADIUS + 1, 2)
    patches = smooth[places[:, 0, None, None] + steps[:, None], places[:, 1, None, None] + steps]

    # Low frequencies of the cosine transform, without the mean: brightness drops out.
    angles = np.pi * np.outer(np.arange(_KEPT), np.arange(len(steps)) + 0.5) / len(steps)
    cosines = np.cos(angles).astype(np.float32)
    signs = cosines @ patches @ cosines.T
    signs[:, 0, 0] = 0

    # Of norm 1: contrast drops out too.
    norms = np.sqrt(np.square(signs).sum(axis=(1, 2), keepdims=True))
    return np.asarray(signs / np.maximum(norms, 1e-6), dtype=np.float32)
