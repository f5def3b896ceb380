"""SAFM, SAFMN's block: feature modulation over several resolutions, then a channel mixer."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.layers.activation import activate, check_activation
from search_spaces.layers.check import check_multiple, check_number, check_same_width
from search_spaces.layers.conv import ConvFactory, depthwise_conv, pointwise_conv
from search_spaces.layers.regional.pool import grid_max_pool
from search_spaces.layers.regional.sizes import larger
from search_spaces.layers.resize import Resize
from search_spaces.layers.tracing import has_symbols


class Level(nn.Module):
    """DW3 at 1 / 2^level of the resolution of (N, channels, H, W), its output at H x W again.

    Max pooled to floor(H / 2^level) x floor(W / 2^level), at least one pixel; brought back by
    `nearest`.
    """

    def __init__(self, channels: int, *, level: int) -> None:
        super().__init__()
        self.divisor = 2**level
        self.conv = depthwise_conv(channels, kernel=3, bias=True)
        self.resize = Resize(mode="nearest") if level else None

    def forward(self, x: Tensor) -> Tensor:
        if self.resize is None:
            out: Tensor = self.conv(x)
            return out
        height, width = x.shape[2:]
        # Images smaller than 2^level still give one pixel.
        small = (larger(height // self.divisor, 1), larger(width // self.divisor, 1))
        out = self.resize(self.conv(self._pool(x, *small)), (height, width))
        return out

    def _pool(self, x: Tensor, rows: int, columns: int) -> Tensor:
        # PyTorch's is faster, but a graph would keep the sizes that it pools to. A range is of
        # 2^level pixels and what is left over, which is less; or of less than that altogether.
        if has_symbols(x):
            return grid_max_pool(x, rows, columns, longest=2 * self.divisor)
        return F.adaptive_max_pool2d(x, (rows, columns))


class SAFM(nn.Module):
    """act(C1([level_0, level_1, ...])) * n over groups of channels of n, (N, channels, H, W)."""

    def __init__(self, channels: int, *, num_levels: int, activation: str) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            Level(channels // num_levels, level=i) for i in range(num_levels)
        )
        self.join = pointwise_conv(channels, channels, bias=True)
        self.activation = check_activation(activation)

    def forward(self, n: Tensor) -> Tensor:
        groups = n.chunk(len(self.levels), 1)
        # Coarse levels see far, fine ones keep detail.
        maps = [level(group) for level, group in zip(self.levels, groups, strict=True)]
        return activate(self.activation, self.join(torch.cat(maps, 1))) * n


class SAFMBlock(nn.Module):
    """h = SAFM(GN(x)) + x, then C1(act(C1(GN(h)))) + h; GN normalises a whole image.

    GN is `GroupNorm` with one group: features depend on the whole image, and a crop's are not the
    image's. It takes images of any size.

    Args:
        num_levels: groups of channels, the i-th at 1 / 2^i of the resolution; it divides
            `channels`.
        expansion: width of the channel mixer over `channels`.

    Source: Sun et al., Spatially-Adaptive Feature Modulation for Efficient Image Super-Resolution,
    ICCV 2023, with 1x1 convolutions in the mixer as in SAFMN-Deep15 (MDAP), NTIRE 2026 Efficient
    SR.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        channels: int,
        num_levels: int,
        expansion: int,
        activation: str,
        make_conv: ConvFactory,
    ) -> None:
        super().__init__()
        check_same_width("safm", in_channels, channels)
        check_number("safm.num_levels", num_levels, such_as=4)
        check_number("safm.expansion", expansion, such_as=2)
        check_multiple("safm.channels", channels, num_levels, f"num_levels={num_levels} groups")

        # One group: mean and variance of a whole image, at training and after it.
        self.norm1, self.norm2 = nn.GroupNorm(1, channels), nn.GroupNorm(1, channels)
        self.safm = SAFM(channels, num_levels=num_levels, activation=activation)

        self.widen = pointwise_conv(channels, expansion * channels, bias=True)
        self.narrow = pointwise_conv(expansion * channels, channels, bias=True)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        # Both halves are residual.
        h = self.safm(self.norm1(x)) + x
        out: Tensor = self.narrow(activate(self.activation, self.widen(self.norm2(h)))) + h
        return out
