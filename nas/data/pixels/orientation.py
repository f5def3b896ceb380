"""Pairs whose HR and LR images are turned against each other, as programs that ignore EXIF do."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from nas.data.pixels.bicubic import imresize
from nas.data.sets import MAKE_LR, crop_to_multiple

Pixels = npt.NDArray[np.uint8]
Value = TypeVar("Value", bound=np.generic)

# What brings the HR pixels as they are stored to the LR image's view; the index is one orientation
# of eight.
TURNS = (
    "not turned",
    "mirrored",
    "turned by 180 degrees",
    "mirrored upside down",
    "mirrored along its diagonal",
    "turned by 90 degrees to the right",
    "mirrored along its other diagonal",
    "turned by 90 degrees to the left",
)
# A turned HR image is taken for the right one if its squared error to the LR image is below this
# share of the stored one's. A degraded or shifted LR image fits best as it is stored.
_MAX_ERROR_SHARE = 0.25
_MIN_ERROR = 25.0  # squared grey levels: below it the stored pixels fit


def orientations(image: npt.NDArray[Value]) -> list[npt.NDArray[Value]]:
    """Return the eight orientations of (H, W, C), in the order of EXIF's values 1 to 8."""
    turned = image.transpose(1, 0, 2)
    return [
        image,
        image[:, ::-1],
        image[::-1, ::-1],
        image[::-1],
        turned,
        turned[:, ::-1],
        turned[::-1, ::-1],
        turned[::-1],
    ]


def find_turn(hr: Pixels, lr: Pixels, scale: int) -> int | None:
    """Find the orientation in which the HR image shows what the LR image shows.

    Args:
        hr: (H, W, 3), as stored.
        lr: (h, w, 3).
    Returns:
        An index of `TURNS` above 0.
        None: the image fits as it is stored, or in no orientation.
    """
    # Mean squared error of each orientation that has the LR image's shape.
    errors: dict[int, float] = {}
    for index, turned in enumerate(orientations(hr)):
        turned = crop_to_multiple(np.ascontiguousarray(turned), scale)
        if (turned.shape[0] // scale, turned.shape[1] // scale) == lr.shape[:2]:
            small = imresize(turned, scale).astype(np.float64)
            errors[index] = float(np.square(small - lr).mean())
    if not errors:
        return None

    # The stored orientation may have another shape than the LR image: then any error is too high.
    stored_error = errors.pop(0, np.inf)
    best = min(errors, key=lambda index: errors[index], default=0)
    limit = _MAX_ERROR_SHARE * min(stored_error, 255.0**2)
    return best if best and stored_error > _MIN_ERROR and errors[best] < limit else None


def turn_in_words(turn: int, lr: Path) -> str:
    """Say what is wrong with an HR file that is turned against its LR file, and the way out."""
    return (
        f"its LR file {lr.name} shows the scene {TURNS[turn]} (as EXIF orientations do); save the "
        f"HR file upright; {MAKE_LR}"
    )
