"""PSNR by the challenge's protocol, and on the Y channel as papers print it."""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from nas.data.sets import ImageSet, Pixels

PROTOCOL = (
    "RGB PSNR: output clamped, rounded to uint8, a border of `scale` pixels dropped, "
    "mean of per-image dB"
)
PROTOCOL_Y = (
    "Y PSNR: the same pixels and border, on the BT.601 luma that papers print; "
    "no gate is meant for it"
)
LUMA = (65.481, 128.553, 24.966)  # of R, G, B in [0, 1], over 16: BT.601's Y in 8 bits, not rounded
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
    return _db(_difference(output, target, border))


def psnr_y_db(output: Tensor, target: Tensor, border: int) -> float:
    """PSNR of one image on the luma of BT.601; arguments and result as of `psnr_db`."""
    difference = _difference(output, target, border)
    weights = torch.tensor(LUMA, dtype=torch.float64, device=difference.device) / 255
    return _db((difference * weights[:, None, None]).sum(-3))


def upscale_pixels(
    upscale: Upscaler, lr: Pixels, hr: Pixels, device: torch.device
) -> tuple[Tensor, Tensor]:
    """One image through a network in full float32, as `psnr_db` takes it.

    Args:
        upscale: (1, 3, H, W) in [0, 1] -> (1, 3, scale*H, scale*W).
        lr: (H, W, 3).
        hr: (scale*H, scale*W, 3).
    Returns:
        output and target, (1, 3, scale*H, scale*W) on the device; the target is uint8.
    """
    x = torch.from_numpy(lr).to(device).permute(2, 0, 1).unsqueeze(0).float() / 255
    target = torch.from_numpy(hr).to(device).permute(2, 0, 1).unsqueeze(0)
    with torch.inference_mode(), _without_tf32(device):
        return upscale(x), target


def per_image(upscale: Upscaler, images: ImageSet, device: torch.device) -> dict[str, float]:
    """PSNR of each image of a set by its name; the images are read one at a time.

    Args:
        upscale: (1, 3, H, W) in [0, 1] -> (1, 3, scale*H, scale*W).
    """
    results = {}
    for i, name in enumerate(labels(images)):
        output, target = upscale_pixels(upscale, *images.load(i), device)
        results[name] = psnr_db(output, target, images.scale)
    return results


def labels(images: ImageSet) -> list[str]:
    """A name for each image: its own, or its path where two folders of a set hold the same name."""
    names = [pair.name for pair in images.pairs]
    return [str(pair.hr) if names.count(pair.name) > 1 else pair.name for pair in images.pairs]


def mean_db(results: dict[str, float]) -> float:
    """Mean of per-image dB, as the challenge takes it."""
    return math.fsum(results.values()) / len(results)


def _difference(output: Tensor, target: Tensor, border: int) -> Tensor:
    """Output in 8 bits minus target, without the border, in float64.

    Raises:
        ValueError: no pixel is left inside the border.
    """
    height, width = target.shape[-2:]
    if min(height, width) <= 2 * border:
        raise ValueError(
            f"an image of {height}x{width} (height x width) leaves no pixel inside the border of {border} "
            "that PSNR drops on each side; leave it out"
        )
    pixels = (output.clamp(0, 1) * 255).round()
    inner = slice(border, -border if border else None)
    return (pixels - target)[..., inner, inner].double()


def _db(difference: Tensor) -> float:
    error = difference.square().mean().item()
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


@contextlib.contextmanager
def _without_tf32(device: torch.device) -> Iterator[None]:
    """PyTorch lets CUDA convolve in TF32, whose 10-bit mantissa moves a PSNR by more than printing hides."""
    if device.type != "cuda":
        yield
        return
    conv: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = conv.fp32_precision
    try:
        conv.fp32_precision = "ieee"
        yield
    finally:
        conv.fp32_precision = before
