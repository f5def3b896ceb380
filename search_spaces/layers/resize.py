"""Feature maps to another height and width."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F


class Resize(nn.Module):
    """Resizes (N, C, h, w) to (N, C, H, W); a layer of its own, so that its cost is listed.

    Args:
        mode: `nearest` takes the pixel floor(place * h / H), `bilinear` has half-pixel centres.
    """

    def __init__(self, *, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        # F.interpolate refuses `align_corners` where it means nothing.
        align = None if self.mode == "nearest" else False
        return F.interpolate(x, size=list(size), mode=self.mode, align_corners=align)
