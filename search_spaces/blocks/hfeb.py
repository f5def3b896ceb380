"""HFEB, HFENet's block: large kernels over the image, then the entropy of channels."""

import torch
from torch import Tensor, nn

from search_spaces.layers.activation import activate, check_activation
from search_spaces.layers.attention.entropy import EntropyGate
from search_spaces.layers.check import check_multiple, check_number, check_same_width, check_size
from search_spaces.layers.conv import ConvFactory, depthwise_conv, pointwise_conv
from search_spaces.layers.norm import ChannelLayerNorm

# Kernel and dilation of a branch's two depthwise convolutions, which see 19, 21 and
# 25 pixels across.
BRANCHES = (((3, 3), (5, 3)), ((3, 1), (7, 3)), ((5, 1), (5, 5)))


def reach(kernel: int, dilation: int) -> int:
    """Return the pixels that a kernel reads on each side of its centre.

    So many are mirrored at a border.
    """
    return dilation * (kernel - 1) // 2


# Mirrored pixels exclude the edge's.
LEAST = 1 + max(reach(*conv) for branch in BRANCHES for conv in branch)


def mirrored_depthwise(channels: int, kernel: int, dilation: int) -> nn.Conv2d:
    """Return a convolution with one kernel a channel; the image is mirrored at its borders."""
    padding = reach(kernel, dilation)
    return nn.Conv2d(
        channels, channels, kernel, padding=padding, dilation=dilation, groups=channels,
        padding_mode="reflect",
    )  # fmt: skip


class Branch(nn.Module):
    """w_0 u + w_1 v; u = near(x), v = far(u); w_0 and w_1, one a pixel, are sigmoid(C1([u, v]))."""

    def __init__(self, channels: int, near: tuple[int, int], far: tuple[int, int]) -> None:
        super().__init__()
        self.near, self.far = (
            mirrored_depthwise(channels, *near),
            mirrored_depthwise(channels, *far),
        )
        self.mix = pointwise_conv(2 * channels, 2, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        u = self.near(x)
        v = self.far(u)
        # Two maps of weights: each pixel chooses between the near and the far view.
        w = torch.sigmoid(self.mix(torch.cat([u, v], 1)))
        out: Tensor = w[:, :1] * u + w[:, 1:] * v
        return out


class LargeKernelAttention(nn.Module):
    """t * act(C1([branch_0, branch_1, branch_2])) over three groups of channels of t."""

    def __init__(self, channels: int, *, activation: str) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            Branch(channels // len(BRANCHES), *convs) for convs in BRANCHES
        )
        self.join = pointwise_conv(channels, channels, bias=False)
        self.activation = activation

    def forward(self, t: Tensor) -> Tensor:
        # Each group of channels sees a neighbourhood of its own size.
        groups = t.chunk(len(self.branches), 1)
        maps = [branch(group) for branch, group in zip(self.branches, groups, strict=True)]
        return t * activate(self.activation, self.join(torch.cat(maps, 1)))


class EntropyAttention(nn.Module):
    """t * gate(t), as released: without a least variance."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = EntropyGate(channels, least_variance=0.0)

    def forward(self, t: Tensor) -> Tensor:
        gated: Tensor = t * self.gate(t)
        return gated


class GatedMixer(nn.Module):
    """C1(DW3(b) * a) with (a, b) the halves of C1(n); no activation."""

    def __init__(self, channels: int, *, width: int) -> None:
        super().__init__()
        self.widen = pointwise_conv(channels, 2 * width, bias=True)
        self.depthwise = depthwise_conv(width, kernel=3, bias=True)
        self.narrow = pointwise_conv(width, channels, bias=True)

    def forward(self, n: Tensor) -> Tensor:
        # A product in place of an activation.
        a, b = self.widen(n).chunk(2, 1)
        out: Tensor = self.narrow(self.depthwise(b) * a)
        return out


class Half(nn.Module):
    """h = C1(attend(act(C1(LN(x))))) + x, then mixer(LN(h)) + h; attention has `width` channels."""

    def __init__(self, channels: int, width: int, attention: nn.Module, *, activation: str) -> None:
        super().__init__()
        self.norm1, self.norm2 = (
            ChannelLayerNorm(channels, eps=1e-5),
            ChannelLayerNorm(channels, eps=1e-5),
        )
        self.widen = pointwise_conv(channels, width, bias=True)
        self.attention = attention
        self.narrow = pointwise_conv(width, channels, bias=True)
        self.mixer = GatedMixer(channels, width=width // 2)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        # Attention works in a wider space; the mixer after it has a residual of its own.
        t = activate(self.activation, self.widen(self.norm1(x)))
        h = self.narrow(self.attention(t)) + x
        out: Tensor = self.mixer(self.norm2(h)) + h
        return out


class HFEB(nn.Module):
    """A spatial half (large depthwise kernels in three branches), then a channel half (entropy).

    Images need 11 x 11 pixels, or they cannot be mirrored for the largest kernel. On an image that
    gives channels without any variance the entropy is infinite, as in the released network.

    Args:
        expansion: width of the attentions, and of the mixers' two halves together, over `channels`;
            expansion * channels is a multiple of 6 (three branches, two halves).

    Source: HFENet (Sunflower), NTIRE 2026 Efficient SR, by its released code: the joined spatial
    map goes through GELU and not, as one may read the report, through a sigmoid.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        channels: int,
        expansion: int,
        activation: str,
        make_conv: ConvFactory,
    ) -> None:
        super().__init__()
        check_same_width("hfeb", in_channels, channels)
        check_number("hfeb.expansion", expansion, such_as=2)
        width = expansion * channels
        check_multiple(
            "hfeb.expansion * channels", width, 6, "three branches, two halves of the mixer"
        )
        check_activation(activation)

        large_kernels = LargeKernelAttention(width, activation=activation)
        self.spatial = Half(channels, width, large_kernels, activation=activation)
        self.channel = Half(channels, width, EntropyAttention(width), activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        check_size(
            "hfeb", x, LEAST, f"its largest kernel mirrors {LEAST - 1} pixels at each border"
        )
        out: Tensor = self.channel(self.spatial(x))
        return out
