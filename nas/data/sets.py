"""A set of images for one role: which files, and each as an LR and an HR array."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from nas.data.pixels.bicubic import imresize
from nas.data.pixels.images import ImageError, read_image

OnError = Literal["stop", "skip"]
Pixels = npt.NDArray[np.uint8]

MAKE_LR = "data.lr=none makes LR images from HR"  # the way out where LR files do not fit


@dataclass(frozen=True, slots=True)
class Pair:
    """One image; without an LR file the LR image is made from the HR one by `imresize`."""

    name: str
    hr: Path
    lr: Path | None = None
    source: str = ""  # whose weight it shares in a mixture
    size: tuple[int, int] = (0, 0)  # height and width of the HR file, in pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """The images of one role in a fixed order."""

    name: str
    pairs: tuple[Pair, ...]
    scale: int
    weights: tuple[
        tuple[str, float], ...
    ] = ()  # source -> how often it is drawn; 1 where it is not named
    on_error: OnError = "stop"

    def __len__(self) -> int:
        return len(self.pairs)

    def load(self, i: int) -> tuple[Pixels, Pixels]:
        """Read LR (h, w, 3) and HR (scale h, scale w, 3), the HR cropped at right and bottom.

        Raises:
            ImageError: a file cannot be read, or the two sizes do not belong together.
        """
        pair = self.pairs[i]
        hr = crop_to_multiple(read_image(pair.hr), self.scale)
        if pair.lr is None:
            return imresize(hr, self.scale), hr
        lr = read_image(pair.lr)
        check_sizes(pair.lr, lr.shape[:2], hr.shape[:2], self.scale)
        return lr, hr

    @property
    def fingerprint(self) -> str:
        """Return a short hash of names, file sizes in bytes and settings.

        A resumed run tells by it that data changed. Folders do not enter: the same data elsewhere
        is the same data.
        """
        files = [
            (
                pair.source,
                pair.name,
                pair.hr.stat().st_size,
                pair.lr.stat().st_size if pair.lr else None,
            )
            for pair in self.pairs
        ]
        text = json.dumps([self.name, self.scale, self.weights, files], allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def num_bytes(self) -> int:
        """Return the memory of all images as uint8, LR and HR, in bytes."""
        hr = sum(
            3 * (h - h % self.scale) * (w - w % self.scale)
            for h, w in (pair.size for pair in self.pairs)
        )
        return hr + hr // self.scale**2


def crop_to_multiple(image: Pixels, scale: int) -> Pixels:
    """Cut rows at the bottom and columns at the right until both are multiples of the scale."""
    height, width = image.shape[:2]
    return image[: height - height % scale, : width - width % scale]


def check_sizes(lr_path: Path, lr: tuple[int, ...], hr: tuple[int, ...], scale: int) -> None:
    """Refuse an LR image that is not the HR image's size divided by the scale, rounded down."""
    expected = (hr[0] // scale, hr[1] // scale)
    if 0 in expected:
        raise ImageError(
            lr_path, f"its HR image, {hr[0]}x{hr[1]}, is smaller than one LR pixel at scale {scale}"
        )

    if tuple(lr) != expected:
        raise ImageError(
            lr_path,
            f"LR is {lr[0]}x{lr[1]} (height x width), HR {hr[0]}x{hr[1]}, which at scale {scale} "
            f"needs {expected[0]}x{expected[1]}; {MAKE_LR}",
        )
