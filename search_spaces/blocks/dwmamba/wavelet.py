"""The wavelet block of DWMamba: coarse and fine features are treated apart, then joined."""

from torch import Tensor, nn

from search_spaces.blocks.dwmamba.haar import haar, inverse_haar
from search_spaces.blocks.dwmamba.high import CrossFusion, HighBranch, SelectiveFusion
from search_spaces.blocks.dwmamba.low import LowBranch
from search_spaces.blocks.dwmamba.routed_scan import RoutedScan
from search_spaces.blocks.dwmamba.window_attention import WindowAttention
from search_spaces.layers.conv import ConvFactory, pointwise_conv
from search_spaces.layers.pad import pad_to_multiple


class Wavelet(nn.Module):
    """Haar transform, edges as one narrow map, attention and scan of the coarse map, and back.

    high = refine(C1(select(HL, LH, HH))); LL' = low(LL, high); high' = cross(LL', high); [HL, LH,
    HH] = C1(high'); inverse transform. Nothing is added to the block's input: a group does that.
    The narrow map has a quarter of the channels, down to a multiple of 4, and at least 12. Features
    are mirrored at their right and bottom, edge included, to a multiple of two windows, and cropped
    again.

    Args:
        window: of the attention, in pixels of the coarse map.
        shift: of the windows, in such pixels: 0, and half a window in every second block.
        num_heads: of the attention.
        hidden: channels inside of the two feed-forward parts.
        inner: channels of the scan.
        d_state, num_classes, rank, noise: as `RoutedScan` has them.

    Source: DWMamba (WMESR), NTIRE 2026 Efficient SR.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        channels: int,
        window: int,
        shift: int,
        num_heads: int,
        hidden: int,
        inner: int,
        d_state: int,
        num_classes: int,
        rank: int,
        noise: bool,
        make_conv: ConvFactory,
    ) -> None:
        super().__init__()

        # Checked here and not by the layers, so that a message names the argument of the spec.
        if in_channels != channels:
            raise ValueError(
                f"wavelet.channels must be those of its input, {in_channels}, got {channels}; "
                "put a conv before it"
            )

        _check_sizes(
            hidden=hidden, inner=inner, d_state=d_state, num_classes=num_classes, rank=rank
        )

        # Edges have less to say than content: a narrow map holds them.
        fine = max(channels // 16 * 4, 12)
        self.multiple = 2 * window
        self.select = SelectiveFusion(channels, num_maps=3)
        self.narrow = pointwise_conv(channels, fine, bias=True)
        self.high = HighBranch(fine)

        attention = WindowAttention(channels, window=window, shift=shift, num_heads=num_heads)
        scan = RoutedScan(
            channels, guide=fine, inner=inner, d_state=d_state, num_classes=num_classes, rank=rank,
            noise=noise,
        )  # fmt: skip
        self.low = LowBranch(channels, attention=attention, hidden=hidden, scan=scan)

        self.cross = CrossFusion(channels, fine, make_conv=make_conv)
        self.widen = pointwise_conv(fine, 3 * channels, bias=True)
        self._initialise_weights()

    def _initialise_weights(self) -> None:
        """Start as the released class does: small linear layers, no bias on the edges."""
        assert self.widen.bias is not None
        nn.init.zeros_(self.widen.bias)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        # Two windows: after the transform, which halves the map, whole windows are left.
        low, *edges = haar(pad_to_multiple(x, self.multiple, "symmetric"))

        high = self.high(self.narrow(self.select(edges)))
        low = self.low(low, high)
        out = inverse_haar(low, *self.widen(self.cross(low, high)).chunk(3, dim=1))
        return out[:, :, :height, :width]


def _check_sizes(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(
                f"wavelet.{name} must be at least 1, got {value}; dwmamba.yaml has usual ones"
            )
