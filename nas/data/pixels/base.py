"""The fixed base that every proxy network adds to: what a search's PSNR is compared with."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def bicubic_base(x: Tensor, scale: int) -> Tensor:
    """Upsample (N, 3, H, W) with the fixed base: PyTorch's bicubic (a = -0.75), not clamped."""
    return F.interpolate(x, scale_factor=scale, mode="bicubic", align_corners=False)
