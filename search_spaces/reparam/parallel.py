"""Training forms that add parallel convolutions: RepVGG's, ACNet's, MBRB, and sums of forms."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.reparam.base import Kernel, RepConv2d, after, identity, own
from search_spaces.reparam.checks import check_count


class RepVGG(RepConv2d):
    """k x k + 1x1 + identity, the last only where the widths are equal.

    Without batch normalisation.

    Source: Ding et al., RepVGG: Making VGG-style ConvNets Great Again, CVPR 2021, which normalises
    each branch; networks for super-resolution do not.
    """

    def __init__(self, in_channels: int, channels: int, *, kernel: int, bias: bool) -> None:
        super().__init__(in_channels, channels, kernel=kernel, bias=bias)
        self.conv = _make_conv(in_channels, channels, kernel, kernel, bias)
        self.pointwise = _make_conv(in_channels, channels, 1, 1, bias)
        self.passes = in_channels == channels
        start_as_plain(self)

    def kernels(self) -> list[Kernel]:
        # An identity needs as many outputs as inputs.
        kernels = [own(self.conv), own(self.pointwise)]
        return [*kernels, identity(self.conv)] if self.passes else kernels

    def branches(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x) + self.pointwise(x)
        return out + x if self.passes else out


class Asymmetric(RepConv2d):
    """k x k + 1 x k + k x 1, without batch normalisation.

    Source: Ding et al., ACNet: Strengthening the Kernel Skeletons, ICCV 2019, which normalises each
    branch.
    """

    def __init__(self, in_channels: int, channels: int, *, kernel: int, bias: bool) -> None:
        super().__init__(in_channels, channels, kernel=kernel, bias=bias)
        self.conv = _make_conv(in_channels, channels, kernel, kernel, bias)
        self.row = _make_conv(in_channels, channels, 1, kernel, bias)
        self.column = _make_conv(in_channels, channels, kernel, 1, bias)
        start_as_plain(self)

    def kernels(self) -> list[Kernel]:
        return [own(self.conv), own(self.row), own(self.column)]

    def branches(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x) + self.row(x) + self.column(x)
        return out


class MBRB(RepConv2d):
    """k x k + 1x1 + 1 x k + k x 1 + (1x1, then k x k) + identity, which needs equal widths.

    The 1x1 before the second k x k gives `expansion` times the channels that it takes; the image is
    padded before it.

    Source: the multi-branch block that ERRN2, NTIRE 2026 Efficient SR, names beside ERB. Neither
    its report nor its released code says which branches it has: these are ours, those of RepVGG and
    ACNet and the sequence of the edge-oriented block of ECBSR (Zhang et al., ACM MM 2021).
    """

    def __init__(
        self, in_channels: int, channels: int, *, kernel: int, bias: bool, expansion: int
    ) -> None:
        super().__init__(in_channels, channels, kernel=kernel, bias=bias)
        width = check_count("mbrb.expansion", expansion) * in_channels
        self.conv = _make_conv(in_channels, channels, kernel, kernel, bias)
        self.pointwise = _make_conv(in_channels, channels, 1, 1, bias)
        self.row = _make_conv(in_channels, channels, 1, kernel, bias)
        self.column = _make_conv(in_channels, channels, kernel, 1, bias)
        self.expand = _make_conv(in_channels, width, 1, 1, bias)
        self.reduce = nn.Conv2d(width, channels, kernel, bias=bias)
        self.passes = in_channels == channels
        start_as_plain(self)

    def kernels(self) -> list[Kernel]:
        # Kernels of parallel branches add up; those of a sequence are merged first.
        parallel = [own(conv) for conv in (self.conv, self.pointwise, self.row, self.column)]
        kernels = [*parallel, after(own(self.reduce), own(self.expand))]
        return [*kernels, identity(self.conv)] if self.passes else kernels

    def branches(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x) + self.pointwise(x) + self.row(x) + self.column(x)
        # Padded before the 1x1, as in every form: its bias reaches the border.
        out = out + self.reduce(self.expand(F.pad(x, [self.padding] * 4)))
        return out + x if self.passes else out


class Sum(RepConv2d):
    """Several training forms side by side, added: ERRN2's RepConv is that of ERB and MBRB.

    Each is as it is alone: an identity that two of them have counts twice.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        kernel: int,
        bias: bool,
        parts: Sequence[RepConv2d],
    ) -> None:
        super().__init__(in_channels, channels, kernel=kernel, bias=bias)
        self.parts = nn.ModuleList(parts)

    def kernels(self) -> list[Kernel]:
        return [part.merged() for part in self._list_parts()]

    def branches(self, x: Tensor) -> Tensor:
        first, *rest = self._list_parts()
        # Each part pads its own input.
        out = first.branches(x)
        for part in rest:
            out = out + part.branches(x)
        return out

    def prepare(self) -> None:
        self._list_parts()[-1].prepare()

    def add_weight(self, weight: Tensor) -> None:
        """Add it to the last part."""
        self._list_parts()[-1].add_weight(weight)

    def add_bias(self, bias: Tensor) -> None:
        self._list_parts()[-1].add_bias(bias)

    def _list_parts(self) -> list[RepConv2d]:
        return [part for part in self.parts if isinstance(part, RepConv2d)]


def start_as_plain(form: RepConv2d) -> None:
    """Bring a form to where its merged kernel is what its k x k branch starts with.

    Without normalisation a sum of branches, each as PyTorch starts it, and an identity is larger
    than its input: by 1.3 to 2.5 times a layer, a thousand to a million times in a network of 20.
    """
    # The k x k branch gives up what the others add.
    weight, bias = own(form.conv)
    form.from_plain(weight.detach().clone(), None if bias is None else bias.detach().clone())


def _make_conv(in_channels: int, channels: int, height: int, width: int, bias: bool) -> nn.Conv2d:
    # Half of an odd size on each side keeps height and width.
    padding = (height // 2, width // 2)
    return nn.Conv2d(in_channels, channels, (height, width), padding=padding, bias=bias)
