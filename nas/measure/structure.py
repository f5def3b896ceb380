"""SSIM by the convention of the challenge, BasicSR and MATLAB's original; also on Y."""

import math

import torch
from torch import Tensor

from nas.measure.quality import LUMA, round_inside_border

SSIM_PROTOCOL = (
    "SSIM: 8-bit levels without the same border, Gaussian window of 11x11 with sigma 1.5 where it "
    "fits, K 0.01 and 0.03, mean over R, G and B; Y SSIM on the BT.601 luma, as papers print it"
)
WINDOW, SIGMA = 11, 1.5  # Wang et al., IEEE TIP 13(4), 2004
STABILISERS = ((0.01 * 255) ** 2, (0.03 * 255) ** 2)


def ssim_rgb_and_y(
    output: Tensor, target: Tensor, border: int
) -> tuple[float, float] | tuple[None, None]:
    """Return the SSIM of one image over R, G and B, and that on its luma.

    None: the image is smaller than the window.

    Args:
        output: (1, 3, H, W), nominally in [0, 1]; clamped and rounded to 8 bits here.
        target: the same shape, uint8 values 0..255 of any dtype.
        border: pixels dropped on each side.

    Example:
        >>> target = torch.full((1, 3, 24, 24), 100)
        >>> ssim_rgb_and_y(torch.full((1, 3, 24, 24), 100 / 255), target, border=4)
        (1.0, 1.0)
    """
    ours, theirs = (levels.double() for levels in round_inside_border(output, target, border))
    if min(ours.shape[-2:]) < WINDOW:
        return None, None
    lumas = [_to_luma(levels) for levels in (ours, theirs)]
    return _compute_ssim(ours, theirs), _compute_ssim(*lumas)


def _compute_ssim(a: Tensor, b: Tensor) -> float:
    """Return the mean of the similarity map of (1, C, H, W), in 8-bit levels."""
    mean_a, mean_b, square_a, square_b, product = _blur(torch.cat([a, b, a * a, b * b, a * b]))
    c1, c2 = STABILISERS
    variances = square_a - mean_a**2 + square_b - mean_b**2
    covariance = product - mean_a * mean_b
    likeness = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return float((likeness / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))).mean())


def _blur(x: Tensor) -> Tensor:
    """Return Gaussian means of (N, C, H, W) at the places where the window fits."""
    weights = [math.exp(-((k - WINDOW // 2) ** 2) / (2 * SIGMA**2)) for k in range(WINDOW)]
    # One tap after the other: PyTorch's convolution in float64 takes several times as long.
    for dim in (2, 3):
        length = x.shape[dim] - WINDOW + 1
        total = x.narrow(dim, 0, length) * (weights[0] / sum(weights))
        for k in range(1, WINDOW):
            total.add_(x.narrow(dim, k, length), alpha=weights[k] / sum(weights))
        x = total
    return x


def _to_luma(levels: Tensor) -> Tensor:
    """Return BT.601's Y, 16 to 235 and not rounded, of (1, 3, H, W) in 8-bit levels."""
    weights = torch.tensor(LUMA, dtype=levels.dtype, device=levels.device) / 255
    return 16 + (levels * weights[:, None, None]).sum(1, keepdim=True)
