"""Layers around the blocks: upsamplers, skip branches from the image, wraps of the network."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.layers.check import check_number
from search_spaces.layers.conv import ConvFactory, depthwise_conv
from search_spaces.layers.pad import pad_to_multiple

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)


def div2k_mean() -> Tensor:
    """Return the mean colour of DIV2K's training images, (1, 3, 1, 1), in [0, 1]."""
    return torch.tensor(DIV2K_MEAN).view(1, 3, 1, 1)


class PixelShuffle(nn.Module):
    """A convolution to 3 * scale^2 channels, then pixel shuffle to (N, 3, scale*H, scale*W)."""

    def __init__(
        self, in_channels: int, *, scale: int, kernel: int, bias: bool, make_conv: ConvFactory
    ) -> None:
        super().__init__()
        self.conv = make_conv(in_channels, 3 * scale**2, kernel=kernel, bias=bias)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), self.scale)

    @property
    def last(self) -> nn.Module:
        """The convolution that makes the image: where it is zero, so is the image."""
        return self.conv


class RefinedPixelShuffle(PixelShuffle):
    """Pixel shuffle, then GELU and a depthwise 3x3 convolution, several times, on the large image.

    Source: DAN, NTIRE 2025, and ZenoSR, NTIRE 2026 Efficient SR.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        scale: int,
        kernel: int,
        bias: bool,
        num_refine: int,
        make_conv: ConvFactory,
    ) -> None:
        super().__init__(in_channels, scale=scale, kernel=kernel, bias=bias, make_conv=make_conv)
        if num_refine < 1:
            raise ValueError(
                f"num_refine must be at least 1, got {num_refine}; use pixel_shuffle without"
            )
        self.refine = nn.ModuleList(
            depthwise_conv(3, kernel=3, bias=False) for _ in range(num_refine)
        )

    def forward(self, x: Tensor) -> Tensor:
        image = super().forward(x)
        for conv in self.refine:
            # On three channels of the large image: depthwise is all that is cheap there.
            image = conv(F.gelu(image))
        return image

    @property
    def last(self) -> nn.Module:
        return self.refine[-1]


def near_branch(scale: int, *, kernel: int, bias: bool) -> nn.Conv2d:
    """Return a grouped convolution 3 -> 3 * scale^2 that starts as nearest-neighbour upsampling.

    Source: SPANF and SPANV2.
    """
    conv = nn.Conv2d(3, 3 * scale**2, kernel, padding=kernel // 2, groups=3, bias=bias)

    # One at the centre of every kernel: each of an RGB channel's scale^2 outputs repeats its pixel.
    nn.init.zeros_(conv.weight)
    with torch.no_grad():
        conv.weight[:, :, kernel // 2, kernel // 2] = 1.0
        if conv.bias is not None:
            conv.bias.zero_()
    return conv


def bilinear(scale: int) -> nn.Upsample:
    """Return an enlargement of the image with half-pixel centres."""
    return nn.Upsample(scale_factor=scale, mode="bilinear", align_corners=False)


def nearest(scale: int) -> nn.Upsample:
    """Return an enlargement of the image that repeats each pixel."""
    return nn.Upsample(scale_factor=scale, mode="nearest")


class Centre(nn.Module):
    """The image minus the DIV2K mean; with `restore` the mean is added again at the end."""

    mean: Tensor

    def __init__(self, *, restore: bool) -> None:
        super().__init__()
        self.restore = restore
        # A constant: it follows the device, and stays out of the state dict.
        self.register_buffer("mean", div2k_mean(), persistent=False)

    def enter(self, image: Tensor) -> Tensor:
        return image - self.mean

    def leave(self, out: Tensor, image: Tensor, scale: int) -> Tensor:
        return out + self.mean if self.restore else out


class Pad(nn.Module):
    """The image padded at its right and bottom to a multiple of some pixels; the output is cropped.

    Args:
        mode: `reflect` mirrors without the edge (the image must be larger than the padding),
            `symmetric` with it.
    """

    def __init__(self, *, mode: str, multiple: int) -> None:
        super().__init__()
        check_number("pad.multiple", multiple, such_as=8)
        if multiple == 1:
            raise ValueError(
                "pad.multiple of 1 changes nothing; leave the layer out, or use such as 8"
            )

        self.mode, self.multiple = mode, multiple
        pad_to_multiple(
            torch.zeros(1, 1, multiple, multiple), multiple, mode
        )  # refuses an unknown mode

    def enter(self, image: Tensor) -> Tensor:
        return pad_to_multiple(image, self.multiple, self.mode)

    def leave(self, out: Tensor, image: Tensor, scale: int) -> Tensor:
        height, width = image.shape[2:]
        return out[:, :, : scale * height, : scale * width]


UPSAMPLERS: dict[str, Callable[..., PixelShuffle]] = {
    "pixel_shuffle": PixelShuffle,
    "refined_pixel_shuffle": RefinedPixelShuffle,
}
SKIPS: dict[str, Callable[..., nn.Module]] = {
    "near": near_branch,
    "bilinear": bilinear,
    "nearest": nearest,
}
WRAPS: dict[str, Callable[..., Centre | Pad]] = {"centre": Centre, "pad": Pad}
