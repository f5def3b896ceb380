"""Images that were decoded once, as uint8 planes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.data.pixels.images import ImageError
from nas.data.progress import each
from nas.data.sets import ImageSet

Planes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Decoded:
    """One image pair as planes: LR (3, h, w) and HR (3, scale h, scale w)."""

    name: str
    source: str
    lr: Planes
    hr: Planes


def planes(image: npt.NDArray[np.uint8]) -> Planes:
    """Turn (H, W, 3) into contiguous (3, H, W): a crop of planes is what a batch takes."""
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def decode_images(images: ImageSet, notices: list[str], *, progress: bool) -> Iterator[Decoded]:
    """Decode images one by one; at a bad one skip or stop, as `on_error` asks.

    Args:
        notices: takes a line for each that is skipped.
    Raises:
        ValueError: one cannot be read, and the set's `on_error` is stop.
    """

    def decode(i: int) -> Decoded:
        lr, hr = images.load(i)
        return Decoded(images.pairs[i].name, images.pairs[i].source, planes(lr), planes(hr))

    label = f"decoding {images.name} images"
    for result in each(decode, range(len(images)), label=label, show=progress):
        if not isinstance(result, ImageError):
            yield result
        elif images.on_error == "stop":
            raise ValueError(f"{result}; repair it or go on without it: data.on_error=skip")
        else:
            notices.append(f"skipped {result}")
