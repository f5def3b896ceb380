"""PSNR by the challenge's protocol, and on the Y channel as papers print it."""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from nas.data.sets import ImageSet, Pixels
from nas.system.files.file_names import escape_name

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
    """Return the PSNR of one image over R, G and B, in dB; infinite for equal images.

    Args:
        output: (1, 3, H, W) or (3, H, W), nominally in [0, 1]; clamped and rounded to 8 bits here.
        target: the same shape, uint8 values 0..255 of any dtype.
        border: pixels dropped on each side.
    Raises:
        ValueError: no pixel is left inside the border.

    Example:
        >>> target = torch.full((3, 8, 8), 100)
        >>> round(psnr_db(torch.full((3, 8, 8), 101 / 255), target, border=2), 2)  # one level off
        48.13
    """
    return _to_db(_subtract_inside_border(output, target, border))


def psnr_y_db(output: Tensor, target: Tensor, border: int) -> float:
    """Return the PSNR of one image on the luma of BT.601; arguments and result as of `psnr_db`."""
    difference = _subtract_inside_border(output, target, border)
    # Luma is linear in R, G and B, so the luma of the difference is the difference of the lumas.
    weights = torch.tensor(LUMA, dtype=torch.float64, device=difference.device) / 255
    return _to_db((difference * weights[:, None, None]).sum(-3))


def upscale_pixels(
    upscale: Upscaler, lr: Pixels, hr: Pixels, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Run one image through a network in full float32; return output and target for `psnr_db`.

    Args:
        upscale: (1, 3, H, W) in [0, 1] -> (1, 3, scale*H, scale*W).
        lr: (H, W, 3).
        hr: (scale*H, scale*W, 3).
    Returns:
        Both are (1, 3, scale*H, scale*W) on the device; the target is uint8.
    """
    with torch.inference_mode(), full_float32(device):
        return upscale(place_pixels(lr, device).float() / 255), place_pixels(hr, device)


def place_pixels(pixels: Pixels, device: torch.device) -> Tensor:
    """Return (H, W, C) as a batch of one on a device, (1, C, H, W), uint8."""
    return torch.from_numpy(pixels).to(device).permute(2, 0, 1).unsqueeze(0)


def per_image(upscale: Upscaler, images: ImageSet, device: torch.device) -> dict[str, float]:
    """Return the PSNR of each image of a set in dB, by the image's name.

    Args:
        upscale: (1, 3, H, W) in [0, 1] -> (1, 3, scale*H, scale*W).
    """
    # One image at a time is in memory: a validation set at full size does not fit.
    results = {}
    for i, name in enumerate(labels(images)):
        output, target = upscale_pixels(upscale, *images.load(i), device)
        results[name] = psnr_db(output, target, images.scale)
    return results


def labels(images: ImageSet) -> list[str]:
    """Return a name for each image: its own, or its path where two images have the same one."""
    # Results are kept by name, so two images of one name would count once.
    names = [pair.name for pair in images.pairs]
    return [
        escape_name(pair.hr) if names.count(pair.name) > 1 else pair.name for pair in images.pairs
    ]


def mean_db(results: dict[str, float]) -> float:
    """Return the mean of per-image dB, as the challenge takes it."""
    return math.fsum(results.values()) / len(results)


def _subtract_inside_border(output: Tensor, target: Tensor, border: int) -> Tensor:
    """Return the output in 8 bits minus the target, without the border, in float64."""
    pixels, expected = round_inside_border(output, target, border)
    return (pixels - expected).double()


def round_inside_border(output: Tensor, target: Tensor, border: int) -> tuple[Tensor, Tensor]:
    """Return output and target in 8-bit levels, without the border.

    Raises:
        ValueError: no pixel is left inside the border.
    """
    height, width = target.shape[-2:]
    if min(height, width) <= 2 * border:
        raise ValueError(
            f"an image of {height}x{width} (height x width) leaves no pixel inside the border of "
            f"{border} that PSNR drops on each side; leave it out"
        )

    # The challenge saves its outputs as 8-bit images before it compares them.
    pixels = round_levels(output)
    inner = slice(border, -border if border else None)
    return pixels[..., inner, inner], target[..., inner, inner]


def round_levels(output: Tensor) -> Tensor:
    """Return an output, nominally in [0, 1], in the levels of 8 bits that are saved of it."""
    return (output.clamp(0, 1) * 255).round()


def to_pixels(output: Tensor) -> Pixels:
    """Return an output of one image, (1, 3, H, W), as the pixels that are saved of it, (H, W, 3)."""
    pixels: Pixels = round_levels(output)[0].permute(1, 2, 0).byte().cpu().numpy()
    return pixels


def _to_db(difference: Tensor) -> float:
    """Return the PSNR that a difference in 8-bit levels amounts to."""
    error = difference.square().mean().item()
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


@contextlib.contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Convolve in float32 on CUDA, where PyTorch's own setting is TF32.

    TF32's 10-bit mantissa moves a PSNR by more than the digits that are printed.
    """
    if device.type != "cuda":
        yield
        return

    # The switch is the process's: it is put back for the trainings around.
    conv: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = conv.fp32_precision
    try:
        conv.fp32_precision = "ieee"
        yield
    finally:
        conv.fp32_precision = before
