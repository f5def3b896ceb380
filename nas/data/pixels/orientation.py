"""HR and LR images of one scene that are turned against each other, as EXIF data leave them."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from nas.data.pixels.bicubic import imresize
from nas.data.sets import MAKE_LR, crop_to_multiple

Pixels = npt.NDArray[np.uint8]
Value = TypeVar("Value", bound=np.generic)

# What brings the HR pixels as they are stored to the LR image's view; the index is one orientation of eight.
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
# Of the squared difference to the LR image, as the pixels are stored: a turned one that is below this share
# shows the scene and the stored one does not. A degraded or a shifted LR image fits best as it is stored.
_SHARE = 0.25
_LEAST = 25.0  # squared grey levels: below, the stored pixels fit


def orientations(image: npt.NDArray[Value]) -> list[npt.NDArray[Value]]:
    """The eight orientations of (H, W, C), in the order of EXIF's values 1 to 8."""
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
    """Find the orientation in which the HR image is that of the LR image.

    Args:
        hr: (H, W, 3), as stored.
        lr: (h, w, 3).
    Returns:
        An index of `TURNS` above 0; None where the image fits as it is stored, or in no orientation.
    """
    differences: dict[int, float] = {}
    for index, turned in enumerate(orientations(hr)):
        turned = crop_to_multiple(np.ascontiguousarray(turned), scale)
        if (turned.shape[0] // scale, turned.shape[1] // scale) == lr.shape[:2]:
            small = imresize(turned, scale).astype(np.float64)
            differences[index] = float(np.square(small - lr).mean())
    if not differences:
        return None
    stored = differences.pop(0, np.inf)
    best = min(differences, key=lambda index: differences[index], default=0)
    if best and stored > _LEAST and differences[best] < _SHARE * min(stored, 255.0**2):
        return best
    return None


def turn_in_words(turn: int, lr: Path) -> str:
    """Say what is wrong with an HR file that is turned against its LR file, and the way out."""
    return (
        f"its LR file {lr.name} shows the scene {TURNS[turn]} (as EXIF orientations do); save the HR file "
        f"upright; {MAKE_LR}"
    )
