"""Colours of pixels that nobody sees: they would bleed into those beside them."""

import torch
import torch.nn.functional as F
from torch import Tensor


def fill_hidden(colours: Tensor, alpha: Tensor) -> Tensor:
    """Return colours in which wholly transparent pixels take those of the visible ones around.

    Most programs leave such pixels black, of which a network draws a dark rim around what is seen.

    Args:
        colours: (1, C, H, W).
        alpha: (1, 1, H, W), how much of a pixel is seen.
    """
    is_seen = alpha > 0
    if is_seen.all() or not is_seen.any():
        return colours

    # Means of four pixels, by how much they are seen, are filled in the same way; then come back.
    weight = F.avg_pool2d(alpha, 2, ceil_mode=True)
    means = F.avg_pool2d(colours * alpha, 2, ceil_mode=True) / weight.clamp_min(1e-6)
    size = (colours.shape[2], colours.shape[3])
    spread = F.interpolate(
        fill_hidden(means, weight), size=size, mode="bilinear", align_corners=False
    )
    return torch.where(is_seen, colours, spread)
