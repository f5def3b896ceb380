"""Self-attention within windows of a map, which are shifted in every second block."""

import torch
from torch import Tensor, nn

MASKED = -100.0  # added where two pixels were no neighbours before the map was rolled


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows, with a learned bias for each distance.

    Args:
        window: edge of a window in pixels; height and width must be multiples.
        shift: by how many pixels windows are moved to the right and down; the map is taken as a
            torus, and pixels that meet only across its edge do not see each other.

    Source: Liu et al., Swin Transformer, ICCV 2021.
    """

    index: Tensor

    def __init__(self, channels: int, *, window: int, shift: int, num_heads: int) -> None:
        super().__init__()
        if num_heads < 1 or channels % num_heads:
            raise ValueError(
                f"num_heads must divide the channels, got {num_heads=} for {channels} channels; "
                "such as 4 for 48"
            )
        if window < 1 or not 0 <= shift < window:
            raise ValueError(
                f"window must be at least 1 and shift from 0 to {window - 1}, got {window=}, "
                f"{shift=}; half a window is usual"
            )

        self.window, self.shift, self.num_heads = window, shift, num_heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

        # One learned number a head for each distance; `index` says which one a pair of pixels has.
        self.bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, num_heads))
        nn.init.trunc_normal_(self.bias_table, std=0.02)
        self.register_buffer("index", _index_distances(window), persistent=False)

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """Return tokens of the same shape, (N, height * width, C), row by row."""
        batch, _, channels = tokens.shape
        maps = self.qkv(tokens).reshape(batch, height, width, 3 * channels)
        if self.shift:
            # Rolled, not cut: every window stays whole, and all attend in one product.
            maps = maps.roll((-self.shift, -self.shift), (1, 2))

        # (windows of all images, heads, pixels, depth) for each of q, k and v.
        heads = _split_windows(maps, self.window).reshape(
            -1, self.window**2, 3, self.num_heads, channels // self.num_heads
        )
        q, k, v = heads.permute(2, 0, 3, 1, 4)

        # A bias for each distance of two pixels; rolled maps also hide pixels from each other.
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        scores += self.bias_table[self.index].permute(2, 0, 1)
        if self.shift:
            mask = _make_shift_mask(height, width, self.window, self.shift, scores)
            scores = (scores.reshape(batch, -1, *scores.shape[1:]) + mask[:, None]).flatten(0, 1)

        seen = (
            (scores.softmax(-1) @ v).transpose(1, 2).reshape(-1, self.window, self.window, channels)
        )
        maps = _join_windows(self.proj(seen), height, width)
        if self.shift:
            maps = maps.roll((self.shift, self.shift), (1, 2))
        return maps.reshape(tokens.shape)


def _index_distances(window: int) -> Tensor:
    """Return the row of the bias table for each pair of pixels, (window^2, window^2)."""
    at = torch.arange(window)
    apart = at[:, None] - at + window - 1  # of two rows or two columns, from 0
    rows, columns = apart[:, None, :, None], apart[None, :, None, :]
    return (rows * (2 * window - 1) + columns).reshape(window**2, window**2)


def _split_windows(maps: Tensor, window: int) -> Tensor:
    """Return the windows (N * windows, window, window, C) of a map (N, H, W, C)."""
    batch, height, width, channels = maps.shape
    maps = maps.reshape(batch, height // window, window, width // window, window, channels)
    return maps.transpose(2, 3).reshape(-1, window, window, channels)


def _join_windows(windows: Tensor, height: int, width: int) -> Tensor:
    """Return the map (N, H, W, C) of its windows: the inverse of `_split_windows`."""
    window, channels = windows.shape[2:]
    maps = windows.reshape(-1, height // window, width // window, window, window, channels)
    return maps.transpose(2, 3).reshape(-1, height, width, channels)


def _make_shift_mask(height: int, width: int, window: int, shift: int, like: Tensor) -> Tensor:
    """Return what is added to the scores of a rolled map, (windows, pixels, pixels)."""

    def region(size: int) -> Tensor:
        at = torch.arange(size, device=like.device)
        return (at >= size - window).long() + (at >= size - shift).long()

    # Nine regions: the map, and what was rolled in from its other side. Only one region attends.
    labels = (3 * region(height)[:, None] + region(width)).reshape(1, height, width, 1)
    labels = _split_windows(labels, window).flatten(1)
    return (labels[:, :, None] != labels[:, None]).to(like.dtype) * MASKED
