"""HAB and SHAB, the hybrid attention blocks of HAESR: with own maps, and with those of a HAB."""

from torch import Tensor, nn

from search_spaces.blocks.context import Context
from search_spaces.blocks.haesr.body import HybridBody, sample_maps
from search_spaces.layers.conv import ConvFactory


class HAB(nn.Module):
    """Convolutional features, then attention within windows, over grids and of channels.

    Windows and grids have 8x8 pixels; an input of another size is mirrored up to multiples of 8.
    Its six attention maps are given to the SHABs after it, up to the next HAB. No dense 3x3
    convolution is in it.

    Args:
        channels: those of its input, a multiple of 16.
        kernel: length of the strips that a quarter of the features see, 31 in HAESR.

    Source: HAESR, NTIRE 2026 Efficient SR, as released: its report leaves out the attention of
    channels.
    """

    gives = frozenset({"maps"})

    def __init__(
        self, in_channels: int, *, channels: int, kernel: int, make_conv: ConvFactory
    ) -> None:
        super().__init__()
        self.body = HybridBody(
            in_channels, name="hab", channels=channels, kernel=kernel, shared=False
        )

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Return features (N, channels, H, W) of the shape of x."""
        out: Tensor
        # Maps of an earlier HAB are replaced: SHABs use those of the nearest one before them.
        out, context["maps"] = self.body(x, None)
        return out


class SHAB(nn.Module):
    """A HAB without queries and keys: it attends with the six maps of the nearest HAB before it.

    The maps belong to places, not to channels: both may have different widths.

    Args:
        channels, kernel: as HAB's.

    Source: HAESR, NTIRE 2026 Efficient SR.
    """

    reads = frozenset({"maps"})

    def __init__(
        self, in_channels: int, *, channels: int, kernel: int, make_conv: ConvFactory
    ) -> None:
        super().__init__()
        self.body = HybridBody(
            in_channels, name="shab", channels=channels, kernel=kernel, shared=True
        )

    def sample_context(self, x: Tensor) -> Context:
        """Return what it reads, in the shapes that fit x, to count it by itself."""
        return {"maps": sample_maps(x)}

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Return features (N, channels, H, W) of the shape of x."""
        out: Tensor = self.body(x, context["maps"])[0]
        return out
