"""MHCB, AMCANet's block: attention by convolutions at several resolutions, then a gate."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.layers.check import check_multiple, check_number, check_same_width, check_size
from search_spaces.layers.conv import ConvFactory, depthwise_conv, pointwise_conv
from search_spaces.layers.norm import l2_normalise
from search_spaces.layers.resize import Resize


def pooling(head: int) -> tuple[int, int]:
    """Return stride and kernel of a head's max pooling; the first head does not pool: stride 0."""
    stride = min(4 * head, 16)
    return stride, max(1, 2 * stride - 1)


class ConvolutionHead(nn.Module):
    """sigmoid(C1(t + r)) * DW3(v): features v, gated by a coarse view t of r.

    (q, v) are the halves of C1(n), r = DW3(q), t = C1(DW3(DW3(pool(r)))).

    Gives `width` channels at the size of n; t is brought back to it by bilinear resizing.
    """

    def __init__(self, channels: int, width: int, *, head: int) -> None:
        super().__init__()
        self.stride, self.kernel = pooling(head)
        self.project = pointwise_conv(channels, 2 * width, bias=True)

        # What a pixel asks for, and a pooled view of all that is asked for around it.
        self.query = depthwise_conv(width, kernel=3, bias=True)
        self.context = nn.Sequential(
            depthwise_conv(width, kernel=3, bias=True),
            depthwise_conv(width, kernel=3, bias=True),
            pointwise_conv(width, width, bias=True),
        )
        self.resize = Resize(mode="bilinear") if self.stride else None
        self.gate = pointwise_conv(width, width, bias=True)
        self.value = depthwise_conv(width, kernel=3, bias=True)

    def forward(self, n: Tensor) -> Tensor:
        q, v = self.project(n).chunk(2, 1)
        r = self.query(q)
        if self.resize is None:
            t = self.context(r)
        else:
            # The context is cheap at the pooled size; the gate needs it at the size of n.
            t = self.resize(self.context(F.max_pool2d(r, self.kernel, self.stride)), n.shape[2:])
        out: Tensor = torch.sigmoid(self.gate(t + r)) * self.value(v)
        return out


class SelectiveGate(nn.Module):
    """C1(sigmoid(C1(DW3(a))) * b) with (a, b) the halves of C1(n): AMCANet's FSG."""

    def __init__(self, channels: int, *, expansion: int) -> None:
        super().__init__()
        width = expansion * channels // 2
        self.widen = pointwise_conv(channels, 2 * width, bias=True)
        self.depthwise = depthwise_conv(width, kernel=3, bias=True)
        self.gate = pointwise_conv(width, width, bias=True)
        self.narrow = pointwise_conv(width, channels, bias=True)

    def forward(self, n: Tensor) -> Tensor:
        a, b = self.widen(n).chunk(2, 1)
        out: Tensor = self.narrow(torch.sigmoid(self.gate(self.depthwise(a))) * b)
        return out


class MHCB(nn.Module):
    """h = C1([head_0(n), head_1(n), ...]) + x, then FSG(h / |h|) + h, with n = x / |x|.

    Norms are Euclidean, over the channels of each pixel. Head k max pools with stride s = min(4k,
    16) and kernel 2s - 1 and no padding, so images need as many pixels as the last head's kernel: 7
    with two heads.

    Args:
        num_heads: it divides `channels`.
        expansion: width of the gate's two halves together over `channels`.

    Source: AMCANet (XSR), NTIRE 2026 Efficient SR.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        channels: int,
        num_heads: int,
        expansion: int,
        make_conv: ConvFactory,
    ) -> None:
        super().__init__()
        check_same_width("mhcb", in_channels, channels)
        check_number("mhcb.num_heads", num_heads, such_as=2)
        check_number("mhcb.expansion", expansion, such_as=2)
        check_multiple("mhcb.channels", channels, num_heads, f"num_heads={num_heads}")
        check_multiple(
            "mhcb.expansion * channels", expansion * channels, 2, "two halves of the gate"
        )

        width = channels // num_heads
        self.heads = nn.ModuleList(
            ConvolutionHead(channels, width, head=k) for k in range(num_heads)
        )
        self.join = pointwise_conv(channels, channels, bias=True)
        self.gate = SelectiveGate(channels, expansion=expansion)

        # Pooling has no padding: an image has at least the pixels of the largest kernel.
        self.least = pooling(num_heads - 1)[1]

    def forward(self, x: Tensor) -> Tensor:
        check_size("mhcb", x, self.least, f"its last head pools over {self.least}x{self.least}")
        # A norm over channels, not over pixels: it holds for images of any size.
        n = l2_normalise(x)
        h = self.join(torch.cat([head(n) for head in self.heads], 1)) + x
        out: Tensor = self.gate(l2_normalise(h)) + h
        return out
