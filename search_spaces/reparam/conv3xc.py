"""Conv3XC, SPAN's training form: a k x k convolution between two 1x1, and a 1x1 beside them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.reparam.base import Kernel, RepConv2d, after, before, own
from search_spaces.reparam.checks import check_count

# Of an outer 1x1: PyTorch starts with 6 to 12 at gain 2, with up to 10^5 at gain 1.
MAX_CONDITION = 10.0


class Conv3XC(RepConv2d):
    """1x1 (a -> gain*a), k x k (gain*a -> gain*b), 1x1 (gain*b -> b), and a 1x1 shortcut (a -> b).

    The image is padded before the first 1x1, so that its bias is in the padding too.

    Source: Wan et al., SPAN, CVPRW 2024.
    """

    def __init__(
        self, in_channels: int, channels: int, *, kernel: int, bias: bool, gain: int
    ) -> None:
        super().__init__(in_channels, channels, kernel=kernel, bias=bias)
        check_count("conv3xc.gain", gain)
        self.expand = nn.Conv2d(in_channels, gain * in_channels, 1, bias=bias)
        self.conv = nn.Conv2d(gain * in_channels, gain * channels, kernel, bias=bias)
        self.project = nn.Conv2d(gain * channels, channels, 1, bias=bias)
        self.shortcut = nn.Conv2d(in_channels, channels, 1, bias=bias)

    def kernels(self) -> list[Kernel]:
        return [
            # From the inside out; the shortcut is a kernel of its own beside the sequence.
            after(before(own(self.conv), own(self.project)), own(self.expand)),
            own(self.shortcut),
        ]

    def branches(self, x: Tensor) -> Tensor:
        # One padding for the whole sequence, so that one k x k kernel is the same function.
        main = self.project(self.conv(self.expand(F.pad(x, [self.padding] * 4))))
        out: Tensor = main + self.shortcut(x)
        return out

    def prepare(self) -> None:
        condition(self.expand)
        condition(self.project)

    def add_weight(self, weight: Tensor) -> None:
        """Add all of it to the inner k x k: the shortcut reaches only the centre."""
        self.conv.weight += inner_change(weight, self.expand, self.project)

    def add_bias(self, bias: Tensor) -> None:
        assert self.project.bias is not None
        self.project.bias += bias


def inner_change(weight: Tensor, expand: nn.Conv2d, project: nn.Conv2d) -> Tensor:
    """Return the least change of the kernel between two 1x1 that changes their merged kernel.

    It exists where both have full rank and the width between them is at least that on either side.

    Args:
        weight: (b, a, k, k), the change of the merged kernel.
    Returns:
        (project's inputs, expand's outputs, k, k).
    """
    # In float64, on the CPU: pseudo-inverses in float32 would lose the last digits of the kernel.
    left, right = (
        torch.linalg.pinv(conv.weight.flatten(1).cpu().double()) for conv in (project, expand)
    )
    return torch.einsum("qo,oihw,ip->qphw", left, weight.cpu().double(), right).to(weight)


def condition(conv: nn.Conv2d) -> None:
    """Make the singular values of a nearly singular 1x1 convolution equal, at the same mean square.

    Through a nearly singular one a given kernel needs huge inner weights, and float32 rounds it
    off: with gain 1 by up to 17 % of its largest weight.
    """
    left, sizes, right = torch.linalg.svd(
        conv.weight.flatten(1).cpu().double(), full_matrices=False
    )
    if sizes[-1] * MAX_CONDITION >= sizes[0] > 0:
        return
    size = sizes.square().mean().sqrt().item() or 1.0
    conv.weight.copy_((size * left @ right)[:, :, None, None])
