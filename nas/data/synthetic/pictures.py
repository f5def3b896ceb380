"""The synthetic pictures as files: made once from a seed, and kept in the user's cache."""

from __future__ import annotations

import functools

import numpy as np

from nas.data.builtin.made_images import keep_images
from nas.data.builtin.photographs import photograph
from nas.data.config import SYNTHETIC
from nas.data.pixels.images import read_image
from nas.data.sets import Pair, Pixels
from nas.data.synthetic.painting import paint_picture

# Counts up with every change of how they look, so that files of another version are not taken.
VERSION = 1
SEED = 0
COUNT = 64
SIDE = 512  # pixels
COLOURED_BY = ("china", "motorcycle_left", "rocket", "ihc")  # photographs that lend their colours


def synthetic_pictures(*, progress: bool) -> list[Pair]:
    """Return the synthetic pictures, HR alone.

    The first call on a machine makes them, which takes half a minute.

    Args:
        progress: whether a bar may be shown while they are made.
    Raises:
        ValueError: see `keep_images` and `photograph`.
    """
    makers = {
        f"leaves_{number:03d}": functools.partial(_paint_numbered, number)
        for number in range(COUNT)
    }
    folder = f"synthetic-{VERSION}"
    files = keep_images(folder, makers, label="making synthetic images", progress=progress)
    names = [f"{folder}/{name}" for name in makers]
    return [
        Pair(name, file, source=SYNTHETIC, size=(SIDE, SIDE), made=name)
        for name, file in zip(names, files, strict=True)
    ]


def _paint_numbered(number: int) -> Pixels:
    return paint_picture(np.random.default_rng([SEED, number]), SIDE, _read_photographs())


@functools.cache
def _read_photographs() -> tuple[Pixels, ...]:
    return tuple(read_image(photograph(name, source=SYNTHETIC).hr) for name in COLOURED_BY)
