"""Gates that are made of each value alone: SPAN's, SPANV2's and what lies between them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ParameterFree(nn.Module):
    """(x + f) * (sigmoid(f) - 0.5). Source: Wan et al., SPAN, CVPRW 2024."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, f: Tensor) -> Tensor:
        # Around zero: a feature of 0 closes the gate, a negative one turns the sign.
        return (x + f) * (torch.sigmoid(f) - 0.5)


class HardParameterFree(nn.Module):
    """(x + f) * clamp(f / 6, -0.5, 0.5): SPAN's gate with MobileNetV3's hard sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, f: Tensor) -> Tensor:
        return (x + f) * (F.hardsigmoid(f) - 0.5)


def _start_near_one(gate: nn.Conv2d) -> nn.Conv2d:
    """Start a gate near one: a product of features grows without bound where these are large.

    With inputs of 255 PyTorch's start squares them in every block, beyond float32 after six.
    """
    with torch.no_grad():
        # A power of two: the scaling rounds nothing.
        gate.weight.mul_(2.0**-10)
        if gate.bias is not None:
            gate.bias.fill_(1.0)
    return gate


class LearnedPointwise(nn.Module):
    """(x + f) * (W f + b), W a 1x1 convolution. Source: SPANV2, NTIRE 2026 Efficient SR."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _start_near_one(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor, f: Tensor) -> Tensor:
        gated: Tensor = (x + f) * self.conv(f)
        return gated


class LearnedDiagonal(nn.Module):
    """(x + f) * (w f + b), one w and one b a channel: SPANV2's gate without its channel mixing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _start_near_one(nn.Conv2d(channels, channels, 1, groups=channels))

    def forward(self, x: Tensor, f: Tensor) -> Tensor:
        gated: Tensor = (x + f) * self.conv(f)
        return gated


class Residual(nn.Module):
    """x + f: no attention."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, f: Tensor) -> Tensor:
        return x + f
