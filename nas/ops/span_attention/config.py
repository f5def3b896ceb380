"""Tile sizes of the Triton kernels by channels and element size: a table, no autotuning.

Every entry compiles ahead of time without a stack (benchmarks/results/stacks.csv holds it).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A tile: its pixels and padded channels, a program's warps, its loop's stages."""

    pixels: int
    channels: int
    warps: int
    stages: int = 1


# (pixels, warps) by kernel and padded channels: WIDE for float32, whose products take three passes
# of TF32, NARROW for elements of two bytes.
WIDE = {
    # Four warps spilled at 64: on 80 to 100 under Triton 3.8.0, on 100 under 3.9.0.
    "forward": {16: (128, 4), 32: (64, 4), 64: (32, 8)},
    "data": {16: (64, 4), 32: (32, 4), 64: (16, 8)},
    "weights": {16: (32, 4), 32: (16, 4), 64: (16, 8)},
}
NARROW = {
    "forward": {16: (128, 4), 32: (128, 4), 64: (64, 4)},
    "data": {16: (64, 4), 32: (64, 4), 64: (64, 8)},
    "weights": {16: (64, 4), 32: (32, 8), 64: (32, 8)},
}


def tile(kernel: str, channels: int, itemsize: int) -> Tile:
    """Return the tile of a kernel.

    Args:
        kernel: `forward`, `data` or `weights`.
        channels: of the map; more than 64 are taken in blocks of 64.
        itemsize: bytes an element.
    """
    padded = min(64, max(16, 1 << (channels - 1).bit_length()))
    table = WIDE if itemsize == 4 else NARROW
    pixels, warps = table[kernel][padded]
    return Tile(pixels=pixels, channels=padded, warps=warps)
