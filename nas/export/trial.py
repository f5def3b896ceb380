"""The images on which an exported file has to give what PyTorch gives, and what that is."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nas.data.builtin.photographs import photograph
from nas.data.pixels.bicubic import imresize
from nas.data.pixels.images import read_image
from nas.data.sets import Pixels
from nas.deploy.hostile import hostile_images
from nas.measure.quality import psnr_db

Image = npt.NDArray[np.float32]

# LR sizes other than those at which any format traces: odd, not square, and the first of the tiny
# ones that the network takes.
SIZES = ((37, 53), (64, 40))
TINY_SIZES = ((3, 5), (5, 7), (9, 7), (13, 11), (19, 17), (35, 33))
PHOTOGRAPH = "astronaut"  # comes with scikit-image
PHOTOGRAPH_AT = (0, 96)  # row and column of the crop: a face, hair, and a plain ground
PHOTOGRAPH_SIZE = 64  # of the LR crop


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Images by name, and what PyTorch makes of them.

    Attributes:
        inputs: (1, 3, H, W) each, 8-bit levels in [0, 1]: formats that read pictures can take them.
        expected: (1, 3, scale H, scale W) each, as the network gives them, not clamped.
        target: the photograph in HR, (scale H, scale W, 3).
        scale: the network's.
        upscaler: the network.
    """

    inputs: Mapping[str, Image]
    expected: Mapping[str, Image]
    target: Pixels
    scale: int
    upscaler: nn.Module

    def compute_exactly(self, name: str) -> npt.NDArray[np.float64]:
        """Return what the network gives for an image in float64, whose rounding is no matter."""
        exact = copy.deepcopy(self.upscaler).double()
        return _run_upscaler(exact, torch.from_numpy(self.inputs[name]).double()).numpy()

    def psnr(self, output: Image) -> float:
        """Return the PSNR of an output for the photograph, by the challenge's protocol, in dB."""
        target = torch.from_numpy(self.target).permute(2, 0, 1)[None]
        return psnr_db(torch.from_numpy(output), target, self.scale)


def make_trial(upscaler: nn.Module, scale: int) -> Trial:
    """Return the images of a trial with what an upscaler makes of them, in float32 on the CPU.

    Images of three sizes come first, then the hostile images of `nas.deploy`, then a photograph.

    Raises:
        ValueError: an output is not finite, or the network refuses an image.
    """
    target = _crop_photograph(scale)
    tiny = next(size for size in TINY_SIZES if _takes_size(upscaler, size))
    inputs = {f"{height}x{width}": _make_noise(height, width) for height, width in (*SIZES, tiny)}
    inputs |= hostile_images()
    inputs[PHOTOGRAPH] = _to_tensor(imresize(target, scale))

    # An output that is not finite equals nothing, and says that the weights are no good.
    expected: dict[str, Image] = {}
    for name, image in inputs.items():
        output = _run_upscaler(upscaler, image)
        if not output.isfinite().all():
            raise ValueError(
                f"weights: the network's output for the image {name!r} is not finite; they did not "
                "train well"
            )
        expected[name] = output.numpy()

    return Trial(
        inputs={name: np.ascontiguousarray(image.numpy()) for name, image in inputs.items()},
        expected=expected,
        target=target,
        scale=scale,
        upscaler=upscaler,
    )


def _run_upscaler(upscaler: nn.Module, image: Tensor) -> Tensor:
    with torch.inference_mode():
        out: Tensor = upscaler(image)
    return out.contiguous()


def _takes_size(upscaler: nn.Module, size: tuple[int, int]) -> bool:
    """Return whether a network takes an image so small: some pad by mirroring, or pool."""
    if size == TINY_SIZES[-1]:
        return True
    try:
        _run_upscaler(upscaler, _make_noise(*size))
    except (ValueError, RuntimeError):  # ours say so clearly, PyTorch's operators less
        return False
    return True


def _make_noise(height: int, width: int) -> Tensor:
    """Return noise of 8-bit levels, (1, 3, H, W), the same for the same size."""
    generator = torch.Generator().manual_seed(height * 1000 + width)
    return torch.randint(0, 256, (1, 3, height, width), generator=generator) / 255


def _crop_photograph(scale: int) -> Pixels:
    """Return the crop in HR, (scale * size, scale * size, 3)."""
    image = read_image(photograph(PHOTOGRAPH, source="builtin").hr)
    row, column = PHOTOGRAPH_AT
    side = scale * PHOTOGRAPH_SIZE
    # At a large scale the crop is larger than what is left of the photograph.
    row, column = min(row, image.shape[0] - side), min(column, image.shape[1] - side)
    if row < 0 or column < 0:
        raise ValueError(
            f"scale {scale} is larger than the photograph of the check allows, "
            f"{min(image.shape[:2]) // PHOTOGRAPH_SIZE}"
        )
    return image[row : row + side, column : column + side]


def _to_tensor(pixels: Pixels) -> Tensor:
    """Return an image as a network takes it, (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
