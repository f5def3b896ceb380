"""ERB, FMEN's training form: a k x k convolution and a skip between two 1x1, and the identity."""

from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.reparam.base import Kernel, RepConv2d, after, before, centred, identity, own
from search_spaces.reparam.checks import check_count
from search_spaces.reparam.conv3xc import condition, inner_change


class ERB(RepConv2d):
    """y = P(C(E x) + E x) + x: E and P are 1x1, C is k x k; the last x needs equal widths.

    FMEN calls it RRRB, residual in residual reparameterisable block, and its pair with an
    activation ERB. E's output is padded with E's bias, which is E of a padded image. Ours beyond
    the paper, where input and output have equal width: between E and P there are `ratio` times the
    larger of both widths, so that any kernel can be learned.

    Source: Du et al., Fast and Memory-Efficient Network Towards Efficient Image Super-Resolution,
    CVPRW 2022.
    """

    def __init__(
        self, in_channels: int, channels: int, *, kernel: int, bias: bool, ratio: int
    ) -> None:
        super().__init__(in_channels, channels, kernel=kernel, bias=bias)
        width = check_count("erb.ratio", ratio) * max(in_channels, channels)
        self.expand = nn.Conv2d(in_channels, width, 1, bias=bias)
        self.conv = nn.Conv2d(width, width, kernel, bias=bias)
        self.project = nn.Conv2d(width, channels, 1, bias=bias)
        self.passes = in_channels == channels

    def kernels(self) -> list[Kernel]:
        # The skip around C is the identity kernel, so C and the skip are one kernel.
        skip = centred(identity(self.conv).weight, self.shape[-1])
        inner = Kernel(self.conv.weight + skip, self.conv.bias)
        main = after(before(inner, own(self.project)), own(self.expand))
        return [main, identity(self.project)] if self.passes else [main]

    def branches(self, x: Tensor) -> Tensor:
        # The skip adds E of the image itself, without padding: C needs none of its own.
        inner = self.conv(self.expand(F.pad(x, [self.padding] * 4))) + self.expand(x)
        out: Tensor = self.project(inner)
        return out + x if self.passes else out

    def prepare(self) -> None:
        condition(self.expand)
        condition(self.project)

    def add_weight(self, weight: Tensor) -> None:
        self.conv.weight += inner_change(weight, self.expand, self.project)

    def add_bias(self, bias: Tensor) -> None:
        assert self.project.bias is not None
        self.project.bias += bias
