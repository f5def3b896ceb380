"""PSNR by the challenge's protocol."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from nas.data.sets import ImageSet

PROTOCOL = (
    "RGB PSNR: output clamped, rounded to uint8, a border of `scale` pixels dropped, mean of per-image dB"
)
Upscaler = Callable[[Tensor], Tensor]


def psnr_db(output: Tensor, target: Tensor, border: int) -> float:
    """PSNR of one image.

    Args:
        output: (1, 3, H, W) or (3, H, W), nominally in [0, 1]; clamped and rounded to 8 bits here.
        target: the same shape, uint8 values 0..255 of any dtype.
        border: pixels dropped on each side.
    Returns:
        dB; infinite for equal images.
    """
    pixels = (output.clamp(0, 1) * 255).round()
    inner = slice(border, -border if border else None)
    difference = (pixels - target)[..., inner, inner].double()
    error = difference.square().mean().item()
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def per_image(upscale: Upscaler, images: ImageSet, device: torch.device) -> dict[str, float]:
    """PSNR of each image of a set by its name; the images are read one at a time.

    Args:
        upscale: (1, 3, H, W) in [0, 1] -> (1, 3, scale*H, scale*W).
    """
    results = {}
    with torch.inference_mode():
        for i, pair in enumerate(images.pairs):
            lr, hr = images.load(i)
            x = torch.from_numpy(lr).to(device).permute(2, 0, 1).unsqueeze(0).float() / 255
            target = torch.from_numpy(hr).to(device).permute(2, 0, 1).unsqueeze(0)
            results[pair.name] = psnr_db(upscale(x), target, images.scale)
    return results


def mean_db(results: dict[str, float]) -> float:
    """Mean of per-image dB, as the challenge takes it."""
    return math.fsum(results.values()) / len(results)
