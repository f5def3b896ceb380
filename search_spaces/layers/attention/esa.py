"""ESA, enhanced spatial attention: a gate that is made of a coarse view of the features."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.layers.conv import plain_conv, pointwise_conv

POOL, STRIDE = 7, 3
# A 3x3 convolution of stride 2 without padding leaves the 7 to pool.
MIN_SIZE = 2 * POOL + 1


def usual_reduction(channels: int) -> int:
    """Return the channels inside an ESA where nothing says them: a third, as HAESR's 16 of 48."""
    return max(4, channels // 3)


class ESA(nn.Module):
    """x * sigmoid(C1(t + C1(a))) with a = C1(x) and t a coarse view of a, resized bilinearly.

    t: a 3x3 convolution of stride 2 without padding, a 7x7 maximum at every third place, a 3x3
        convolution.

    Args:
        reduced: channels of a and t.

    Source: Liu et al., Residual Feature Aggregation Network, CVPR 2020, in the short form of Kong
    et al., RLFN, CVPRW 2022.
    """

    def __init__(self, channels: int, *, reduced: int) -> None:
        super().__init__()
        self.reduce = pointwise_conv(channels, reduced, bias=True)
        self.fine = pointwise_conv(reduced, reduced, bias=True)
        self.halve = nn.Conv2d(reduced, reduced, 3, stride=2)
        self.coarse = plain_conv(reduced, reduced, kernel=3, bias=True)
        self.expand = pointwise_conv(reduced, channels, bias=True)

    def gate(self, x: Tensor) -> Tensor:
        """Return the gate in (0, 1) of (N, C, H, W).

        At any size: zeros are added up to 3x3, and the pooling takes what is there.
        """
        reduced = self.reduce(x)
        height, width = x.shape[2:]

        # The 3x3 convolution has no padding: it needs three pixels.
        small = min(height, width) < 3
        room = F.pad(reduced, (0, max(0, 3 - width), 0, max(0, 3 - height))) if small else reduced

        # Half the size, a maximum at every third place, then a 3x3: a coarse view.
        halved = self.halve(room)
        pooled = F.max_pool2d(
            halved, (min(POOL, halved.shape[2]), min(POOL, halved.shape[3])), STRIDE
        )

        # Back to the size of the features, to be added to the fine view.
        coarse = F.interpolate(
            self.coarse(pooled), (height, width), mode="bilinear", align_corners=False
        )
        return torch.sigmoid(self.expand(coarse + self.fine(reduced)))

    def forward(self, x: Tensor) -> Tensor:
        """Weigh features (N, C, H, W) by their gate.

        Raises:
            ValueError: it is too small for what is published.
        """
        height, width = x.shape[2:]
        if min(height, width) < MIN_SIZE:
            raise ValueError(
                f"esa needs features of at least {MIN_SIZE}x{MIN_SIZE} pixels for its "
                f"{POOL}x{POOL} pooling after a convolution of stride 2, got {height}x{width}; "
                "use a larger image"
            )
        return x * self.gate(x)


class SpatialESA(nn.Module):
    """(x + f) * g with the gate g of an ESA over f: in the place of SPAN's, at any size."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.esa = ESA(channels, reduced=usual_reduction(channels))

    def forward(self, x: Tensor, f: Tensor) -> Tensor:
        gated: Tensor = (x + f) * self.esa.gate(f)
        return gated
