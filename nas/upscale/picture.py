"""A picture as its file holds it: pixels of 8 or 16 bits, grey or RGB, with or without alpha."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
LUMA = (0.299, 0.587, 0.114)  # of R, G and B: BT.601's grey, as image programs take it


class SizeError(ValueError):
    """A picture is too small or too large to be upscaled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture, upright.

    Attributes:
        pixels: (H, W, C), uint8 or uint16; C is 1 or 3, and one more where the last is alpha, which
            is not multiplied into the colours.
        profile: the ICC profile; None: the file has none.
        exif: the EXIF data as JPEG holds it, with the orientation 1; empty: there is none.
    """

    pixels: Samples
    profile: bytes | None = None
    exif: bytes = b""

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def has_alpha(self) -> bool:
        return int(self.pixels.shape[2]) in (2, 4)

    @property
    def is_grey(self) -> bool:
        return int(self.pixels.shape[2]) < 3

    @property
    def bits(self) -> int:
        """Bits a sample, 8 or 16."""
        return 8 * self.pixels.dtype.itemsize
