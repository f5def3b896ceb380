"""A group: blocks, a convolution after them, and a residual around all."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from search_spaces.blocks.context import Context, call, read_and_given
from search_spaces.layers.attention.esa import ESA, usual_reduction
from search_spaces.layers.conv import ConvFactory, pointwise_conv

# What stands after the sum, by the word of `attention`: these take the sum alone, unlike a SPAB's.
AFTER: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda channels: nn.Identity(),
    "esa": lambda channels: ESA(channels, reduced=usual_reduction(channels)),
}


class Group(nn.Module):
    """A(C(B_n(...B_1(x))) + x): blocks B, a convolution C, and an attention A of the sum.

    HAESR: a 1x1 convolution and ESA; DWMamba: a 3x3 one and none.

    Args:
        kernel: of the convolution.
        attention: `none`, or `esa`: ESA with a third of the channels inside, from 15x15 pixels on.
        blocks: they keep the width together; what they read of blocks before the group, the group
            reads.

    Source: HAESR and DWMamba, NTIRE 2026 Efficient SR.
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

        # A group of nothing would be a convolution under another name.
        if not blocks:
            raise ValueError("group.blocks must hold at least one block, got none; such as a spab")
        if attention not in AFTER:
            raise ValueError(
                f"group.attention {attention!r} is not known; known: {', '.join(AFTER)}"
            )

        self.blocks = nn.ModuleList(blocks)

        # A 1x1 convolution has no training form; it never goes through the factory.
        self.conv = (
            pointwise_conv(in_channels, in_channels, bias=bias)
            if kernel == 1
            else make_conv(in_channels, in_channels, kernel=kernel, bias=bias)
        )

        self.attention = AFTER[attention](in_channels)

        # For those outside, the group reads and gives what its blocks do.
        self.reads, self.gives = read_and_given(blocks)

    def sample_context(self, x: Tensor) -> Context:
        """Return what its blocks read of those before it, in shapes that fit x, for counting."""
        context: Context = {}
        for block in self.blocks:
            sample: Callable[[Tensor], Context] = getattr(block, "sample_context", lambda x: {})
            context |= {name: value for name, value in sample(x).items() if name in self.reads}
        return context

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Return features of the shape of x, (N, C, H, W).

        Args:
            context: for blocks that read it or give to it.
        """
        inner = x
        for block in self.blocks:
            inner = call(block, inner, context)
        out: Tensor = self.attention(self.conv(inner) + x)
        return out
