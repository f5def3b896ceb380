"""How far an upscaler looks: the receptive field, measured, and where tiles may begin."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# Of float64 on the CPU: (1, C, H, W) in [0, 1] -> (1, C, scale*H, scale*W).
Upscaler = Callable[[Tensor], Tensor]
BREADTH = 32  # pixels across the strips that are looked at
LENGTHS = (96, 256, 640)  # pixels along them; what looks farther than half of that sees the whole
PERIODS = (1, 2, 4, 8, 16, 32)  # pixels to whose multiples windows and pooled cells may be bound
TOLERANCE = 1e-5  # of full scale, between a tile and the whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far the outputs of one pixel depend on the image around it.

    Attributes:
        radius: LR pixels to each side.
        period: tiles begin at multiples of so many pixels, where windows and pooled cells do.
    """

    radius: int
    period: int

    @property
    def overlap(self) -> int:
        """LR pixels that a tile needs beyond each of its sides."""
        return -(-self.radius // self.period) * self.period


def measure_radius(upscale: Upscaler, scale: int, channels: int = 3) -> int | None:
    """Return how many LR pixels an upscaler looks to each side.

    Not-a-number spreads to all that is computed from it, whatever the weights: so one half of a
    strip is filled with it, and the outputs in the other half show how far it comes.

    None: it looks at the whole image.
    """
    for length in LENGTHS:
        radius = 0
        for dim in (2, 3):
            for place in (0, 1):
                spread = _measure_spread(upscale, scale, channels, length, dim, place)
                radius = max(radius, spread)
                # To the end of the strip: a longer one tells whether it ever ends.
                if radius >= length // 2:
                    break
        if radius < length // 2:
            return radius
    return None


def _measure_spread(
    upscale: Upscaler, scale: int, channels: int, length: int, dim: int, place: int
) -> int:
    """Return how many LR pixels of the clean half are reached from the other half.

    Args:
        dim: the axis along the strip.
        place: 0, the first half is not-a-number; 1, the second one.
    """
    half = length // 2
    strip = _draw_strip(channels, length, dim)
    strip.narrow(dim, place * half, half).fill_(torch.nan)
    with torch.inference_mode():
        reached = upscale(strip).isnan().movedim(dim, 0).flatten(1).any(1)
    return int(reached.view(length, scale).any(1).sum()) - half


def find_period(
    upscale: Upscaler, scale: int, radius: int, size: tuple[int, int], channels: int = 3
) -> int | None:
    """Return the least period of tiles with which they equal the whole image.

    It is tried out on strips whose length leaves the same remainders as the image's sides.

    Args:
        size: height and width of the LR image.
    Returns:
        The period; None: tiles of no period equal the whole.
    """
    for period in PERIODS:
        reach = Reach(radius=radius, period=period)
        if all(
            _equals_whole(upscale, scale, reach, side, dim, channels)
            for dim, side in zip((2, 3), size, strict=True)
        ):
            return period
    return None


def _equals_whole(
    upscale: Upscaler, scale: int, reach: Reach, side: int, dim: int, channels: int
) -> bool:
    """Return whether the two parts of a strip, each with its overlap, equal the whole strip."""
    # The second part begins where no other period of common sizes does, so that none is missed.
    begin = 11 * reach.period
    cut = begin + reach.overlap
    least = cut + reach.overlap + 2 * reach.period
    length = least + (side - least) % (2 * max(PERIODS))
    strip = _draw_strip(channels, length, dim)

    with torch.inference_mode():
        whole = upscale(strip)
        first = upscale(strip.narrow(dim, 0, cut + reach.overlap))
        second = upscale(strip.narrow(dim, begin, length - begin))

    parts = (
        first.narrow(dim, 0, scale * cut),
        second.narrow(dim, scale * (cut - begin), scale * (length - cut)),
    )
    return bool((torch.cat(parts, dim) - whole).abs().max() <= TOLERANCE)


def _draw_strip(channels: int, length: int, dim: int) -> Tensor:
    """Return a strip of noise in float64: rounding is not to be taken for a difference."""
    shape = (1, channels, length, BREADTH) if dim == 2 else (1, channels, BREADTH, length)
    generator = torch.Generator().manual_seed(0)
    return torch.rand(shape, generator=generator, dtype=torch.float64)
