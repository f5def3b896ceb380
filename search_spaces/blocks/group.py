"""Blocks in a row, a convolution and a residual around them all."""

from collections.abc import Sequence

from torch import Tensor, nn

from search_spaces.layers.conv import ConvFactory


class Group(nn.Module):
    """h + C(blocks(h)): the residual group of SwinIR and its heirs.

    Args:
        kernel: of the convolution after the blocks.
        attention: `none`.
        blocks: made by the caller; they keep the width.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        kernel: int,
        bias: bool,
        attention: str,
        blocks: Sequence[nn.Module],
        make_conv: ConvFactory,
    ) -> None:
        super().__init__()
        if attention != "none":
            raise ValueError(f"group.attention {attention!r} is not known; known: none")
        if not blocks:
            raise ValueError("group.blocks must hold at least one block, got none")
        self.blocks = nn.ModuleList(blocks)
        self.conv = make_conv(in_channels, in_channels, kernel=kernel, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        features = x
        for block in self.blocks:
            features = block(features)
        out: Tensor = self.conv(features) + x
        return out
