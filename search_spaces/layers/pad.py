"""Padding at the right and the bottom, for layers that need a multiple of some pixels."""

import torch
from torch import Tensor
from torch.nn import functional as F

from search_spaces.layers.regional.sizes import larger
from search_spaces.layers.tracing import has_symbols

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
    if has_symbols(x):
        return _mirror_axis(_mirror_axis(x, 2, multiple, mode), 3, multiple, mode)

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


def _mirror_axis(x: Tensor, dim: int, multiple: int, mode: str) -> Tensor:
    """Return an axis mirrored up to a multiple, without a decision on its length.

    Both modes repeat the axis and its mirror image; `reflect` leaves out the two edges there. It
    mirrors as often as is needed, where PyTorch's refuses.
    """
    length = x.shape[dim]
    padded = (length + multiple - 1) // multiple * multiple  # no -(-a // b): ONNX rounds to zero
    edges = 2 if mode == "reflect" else 0
    period = larger(2 * length - edges, 1)
    pixels = torch.arange(padded, device=x.device)
    place = pixels - pixels // period * period  # no remainder of a symbol: ONNX's exporter has none
    # The second half of a period is read backwards.
    return x.index_select(dim, place.minimum(2 * length - 1 - edges // 2 - place))
