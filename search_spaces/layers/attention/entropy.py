"""A gate a channel, made of the entropy of its features: HFENet's."""

import math

import torch
from torch import Tensor, nn

REDUCTION = 9  # features are squeezed to a ninth of their channels
LEAST_VARIANCE = 1e-6


class EntropyGate(nn.Module):
    """(N, C, H, W) -> a gate (N, C, 1, 1) in (0, 1), made of the spread of C / 9 squeezed maps.

    gate = sigmoid(C1(e)) with e = 0.5 ln(2 pi e var), the entropy of a Gaussian of the variance
    that each map of C1(f) has over its pixels (unbiased; 0 for a single pixel).

    Args:
        least_variance: what a smaller variance counts as. 0, as released, has no finite gradient on
            an image that gives a map without any variance.

    Source: HFENet (Sunflower), NTIRE 2026 Efficient SR.
    """

    def __init__(self, channels: int, *, least_variance: float) -> None:
        super().__init__()
        squeezed = max(1, channels // REDUCTION)
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)
        self.least_variance = least_variance

    def forward(self, f: Tensor) -> Tensor:
        # A single pixel has no unbiased variance: it counts as 0.
        num_pixels = f.shape[2] * f.shape[3]
        variance = self.squeeze(f).var((2, 3), correction=min(1, num_pixels - 1), keepdim=True)
        if self.least_variance:
            variance = variance.clamp(min=self.least_variance)
        # One number a map: how much it varies, not where.
        entropy = 0.5 * torch.log(2 * math.pi * math.e * variance)
        return torch.sigmoid(self.expand(entropy))


class Entropy(nn.Module):
    """(x + f) * gate(f), a number a channel.

    The variance under the logarithm counts as at least 1e-6.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = EntropyGate(channels, least_variance=LEAST_VARIANCE)

    def forward(self, x: Tensor, f: Tensor) -> Tensor:
        gated: Tensor = (x + f) * self.gate(f)
        return gated
