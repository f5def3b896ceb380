"""Padding at the right and the bottom, for layers that need a multiple of some pixels."""

import torch
from torch import Tensor
from torch.nn import functional as F

MODES = ("reflect", "symmetric")


def pad_to_multiple(x: Tensor, multiple: int, mode: str) -> Tensor:
    """Return (N, C, H, W) padded at its right and bottom so that H and W are multiples.

    Args:
        mode: `reflect` mirrors without the edge, `symmetric` with it, as often as is needed.

    Raises:
        ValueError: the mode is not known; or with `reflect` the image is not larger than its
        padding.
    """
    if mode not in MODES:
        raise ValueError(f"pad mode {mode!r} is not known; known: {', '.join(MODES)}")
    height, width = x.shape[2:]
    bottom, right = -height % multiple, -width % multiple
    if mode == "reflect":
        # PyTorch's reflection stops at the image's size, and says so less clearly.
        if bottom >= height or right >= width:
            raise ValueError(
                f"image of {height}x{width} pixels is too small: to be mirrored to a multiple of "
                f"{multiple} it needs more than {bottom}x{right}; use a larger image"
            )
        return F.pad(x, (0, right, 0, bottom), mode="reflect")

    while bottom or right:  # each turn adds at most the image itself
        down, across = min(bottom, x.shape[2]), min(right, x.shape[3])
        x = torch.cat([x, x[:, :, x.shape[2] - down :].flip(2)], 2) if down else x
        x = torch.cat([x, x[:, :, :, x.shape[3] - across :].flip(3)], 3) if across else x
        bottom, right = bottom - down, right - across

    return x
