"""Tile sizes of the Triton kernels by channels and element size: a table, no autotuning.

Every entry compiles ahead of time for sm_86 and sm_90 without stack (a test holds it).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """pixels: rows of a tile; channels: its columns, padded; warps: of a program; stages: of its loop."""

    pixels: int
    channels: int
    warps: int
    stages: int = 1


# (pixels, warps) by padded channels: for float32, whose products are three, and for elements of two bytes.
WIDE = {
    "forward": {16: (128, 4), 32: (64, 4), 64: (32, 4)},
    "data": {16: (64, 4), 32: (32, 4), 64: (16, 8)},
    "weights": {16: (32, 4), 32: (16, 4), 64: (16, 8)},
}
NARROW = {
    "forward": {16: (128, 4), 32: (128, 4), 64: (64, 4)},
    "data": {16: (64, 4), 32: (64, 4), 64: (64, 8)},
    "weights": {16: (64, 4), 32: (32, 8), 64: (32, 8)},
}


def tile(kernel: str, channels: int, itemsize: int) -> Tile:
    """The tile of a kernel.

    Args:
        kernel: `forward`, `data` or `weights`.
        channels: of the map; more than 64 are taken in blocks of 64.
        itemsize: bytes an element.
    """
    padded = min(64, max(16, 1 << (channels - 1).bit_length()))
    table = WIDE if itemsize == 4 else NARROW
    pixels, warps = table[kernel][padded]
    return Tile(pixels=pixels, channels=padded, warps=warps)
