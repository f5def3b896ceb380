"""Training-time forms of a convolution: branches are held, one kernel is computed."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RepConv2d(nn.Module):
    """A convolution whose kernel is computed from the branches of SPAN's Conv3XC.

    Branches: 1x1 (a -> gain*a), k x k (gain*a -> gain*b), 1x1 (gain*b -> b), and a 1x1 shortcut
    (a -> b). The image is zero-padded before the first, so one k x k kernel is the same function,
    borders included. Each step merges the branches once and runs that kernel; autograd takes the
    gradient back to the branches.

    Source: Wan et al., SPAN, CVPRW 2024; parameter initialisation is PyTorch's, as there.
    """

    def __init__(self, in_channels: int, channels: int, *, kernel: int, bias: bool, gain: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(in_channels, gain * in_channels, 1, bias=bias)
        self.conv = nn.Conv2d(gain * in_channels, gain * channels, kernel, bias=bias)
        self.project = nn.Conv2d(gain * channels, channels, 1, bias=bias)
        self.shortcut = nn.Conv2d(in_channels, channels, 1, bias=bias)
        self.padding = kernel // 2

    def merged(self) -> tuple[Tensor, Tensor | None]:
        """The kernel (channels, in_channels, k, k) and the bias (channels,), None without biases."""
        inner = self.conv.weight
        project = self.project.weight.flatten(1)
        expand = self.expand.weight.flatten(1)
        half = torch.tensordot(project, inner, dims=1)
        kernel = torch.einsum("oqhw,qi->oihw", half, expand)
        kernel = kernel + F.pad(self.shortcut.weight, [self.padding] * 4)
        if self.conv.bias is None:
            return kernel, None
        assert self.expand.bias is not None
        assert self.project.bias is not None
        assert self.shortcut.bias is not None
        bias = half.sum((2, 3)) @ self.expand.bias + project @ self.conv.bias
        return kernel, bias + self.project.bias + self.shortcut.bias

    def branches(self, x: Tensor) -> Tensor:
        """The same function with its branches run one by one: what `forward` is checked against."""
        pad = self.padding
        main = self.project(self.conv(self.expand(F.pad(x, [pad] * 4))))
        out: Tensor = main + self.shortcut(x)
        return out

    def forward(self, x: Tensor) -> Tensor:
        kernel, bias = self.merged()
        return F.conv2d(x, kernel, bias, padding=self.padding)
