"""The body of HAB and SHAB: three stages of convolutions and attention, then channel attention."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from search_spaces.blocks.haesr.channel import ChannelStage
from search_spaces.blocks.haesr.local_features import LocalFeatures
from search_spaces.blocks.haesr.spatial import SpatialBlock
from search_spaces.blocks.haesr.tokens import NUM_QUERIES, WINDOW, GridTokens, LocalTokens
from search_spaces.layers.check import check_multiple, check_same_width
from search_spaces.layers.conv import pointwise_conv
from search_spaces.layers.pad import pad_to_multiple

PATTERNS = (
    ("star", "center"),
    ("cross", "row"),
    ("corner", "col"),
)  # local and grid attention of each stage
Maps = tuple[Tensor, ...]  # of the stages in order, local before grid


class Stage(nn.Module):
    """Convolutional features, of which all but a quarter go through local and grid attention.

    Args:
        local: channels that stay local.
    """

    def __init__(
        self, channels: int, *, local: int, kernel: int, patterns: tuple[str, str], shared: bool
    ) -> None:
        super().__init__()
        self.local = local
        self.features = LocalFeatures(channels, kernel=kernel)
        self.window = SpatialBlock(channels - local, LocalTokens(patterns[0]), shared=shared)
        self.grid = SpatialBlock(channels - local, GridTokens(patterns[1]), shared=shared)

    def forward(self, x: Tensor, maps: Sequence[Tensor | None]) -> tuple[Tensor, Tensor, Maps]:
        """Return the attended channels, the local ones, and both maps that were used."""
        local, x = self.features(x).tensor_split([self.local], 1)
        x, window = self.window(x, maps[0])
        x, grid = self.grid(x, maps[1])
        return x, local, (window, grid)


class HybridBody(nn.Module):
    """Three stages over all, three and two quarters of the channels, then channel attention.

    After the first and the second stage a 1x1 convolution joins attended and local channels; its
    first quarter is kept, the rest goes to the next stage. After the third it joins all that was
    kept.

    Args:
        name: of the block kind, for messages.
        channels: a multiple of 16: the shuffle of each stage needs whole quarters of its channels.
        kernel: length of the strips of the convolutional features.
        shared: attention maps are given, not made.
    """

    def __init__(
        self, in_channels: int, *, name: str, channels: int, kernel: int, shared: bool
    ) -> None:
        super().__init__()
        check_same_width(name, in_channels, channels)
        check_multiple(
            f"{name}.channels", channels, 16, "three quarters are shuffled in four groups"
        )
        self.quarter = channels // 4
        widths = (channels, channels - self.quarter, channels - 2 * self.quarter)

        # Each stage keeps a quarter of the channels local, and hands the others on.
        self.stages = nn.ModuleList(
            Stage(width, local=self.quarter, kernel=kernel, patterns=patterns, shared=shared)
            for width, patterns in zip(widths, PATTERNS, strict=True)
        )
        self.merges = nn.ModuleList(
            pointwise_conv(width, width, bias=True) for width in (*widths[:2], channels)
        )
        self.channel = ChannelStage(channels)

    def forward(self, x: Tensor, maps: Maps | None) -> tuple[Tensor, Maps]:
        """Return (N, C, H, W) of the shape of x, which has any size, and the six maps in use.

        H and W are mirrored up to multiples of 8, and cropped at the end.
        """
        height, width = x.shape[2:]
        x = pad_to_multiple(x, WINDOW, "symmetric")

        given: Sequence[Tensor | None] = (None,) * 2 * len(PATTERNS) if maps is None else maps
        kept: list[Tensor] = []
        used: Maps = ()

        for i, (stage, merge) in enumerate(zip(self.stages, self.merges, strict=True)):
            # Two maps a stage: local, then grid.
            x, local, stage_maps = stage(x, given[2 * i : 2 * i + 2])
            used += stage_maps
            if i < len(self.stages) - 1:
                # A quarter is kept for the end, the rest goes on: later stages are narrower and
                # cheaper.
                first, x = merge(torch.cat([x, local], 1)).tensor_split([self.quarter], 1)
                kept.append(first)
            else:
                x = merge(torch.cat([*kept, x, local], 1))

        return self.channel(x)[:, :, :height, :width], used


def sample_maps(x: Tensor) -> Maps:
    """Return empty maps of the shapes that fit (N, C, H, W): (sets, 64, keys) each."""
    num_sets = x.shape[0] * -(-x.shape[2] // WINDOW) * -(-x.shape[3] // WINDOW)
    tokens = [made for local, grid in PATTERNS for made in (LocalTokens(local), GridTokens(grid))]
    return tuple(x.new_empty(num_sets, NUM_QUERIES, kind.num_keys) for kind in tokens)
