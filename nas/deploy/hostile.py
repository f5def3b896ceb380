"""Images that drive networks further than photographs do, on which float16 is tried."""

import itertools

import torch
from torch import Tensor

TRIAL_SIZE = (45, 53)  # odd, so that borders and ragged tiles are part of the trial


def hostile_images(height: int = TRIAL_SIZE[0], width: int = TRIAL_SIZE[1]) -> dict[str, Tensor]:
    """What screens, scans and tests hold and photographs do not, each (1, 3, H, W) in [0, 1], by name.

    - 1/0 noise, independent in each channel, and grey;
    - checkerboards and stripes in both directions, of one and of two pixels, grey and in colours that
      exclude each other (green where red and blue are not); for the finest checkerboard all three pairs;
    - an ordered dither of a ramp, white, and bars of the eight saturated colours.

    Those on which SPANV2 goes furthest come first: a trial ends sooner so.
    """
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    planes = {
        "checkerboard": rows + columns,
        "horizontal stripes": rows,
        "vertical stripes": columns,
        "wide checkerboard": rows // 2 + columns // 2,
        "wide horizontal stripes": rows // 2,
        "wide vertical stripes": columns // 2,
    }
    images: dict[str, Tensor] = {}
    for (name, plane), (prefix, inverse) in itertools.product(
        planes.items(), {"green ": [0, 1, 0], "": [0, 0, 0]}.items()
    ):
        images[prefix + name] = _coloured(plane, inverse)
    images["red checkerboard"] = _coloured(planes["checkerboard"], [1, 0, 0])
    images["blue checkerboard"] = _coloured(planes["checkerboard"], [0, 0, 1])
    images["noise"] = torch.randint(0, 2, (1, 3, height, width), generator=generator).float()
    grey = torch.randint(0, 2, (1, 1, height, width), generator=generator).float()
    images["grey noise"] = grey.expand(1, 3, height, width)
    ramp = columns / max(1, width - 1)
    thresholds = (_bayer(3)[rows % 8, columns % 8] + 0.5) / 64
    images["dithered"] = (ramp > thresholds).float().expand(1, 3, height, width)
    images["flat"] = torch.ones(1, 3, height, width)
    bars = 8 * columns // max(1, width)
    images["bars"] = torch.stack([(bars >> bit) % 2 for bit in range(3)]).float()[None]
    return images


def _coloured(plane: Tensor, inverse: list[int]) -> Tensor:
    """The parity of a plane in each channel, or its inverse."""
    return torch.stack([(plane + one) % 2 for one in inverse]).float()[None]


def _bayer(order: int) -> Tensor:
    """The ordered-dither matrix of side 2**order, 0 to 4**order - 1."""
    matrix = torch.zeros(1, 1)
    for _ in range(order):
        matrix = torch.cat(
            [
                torch.cat([4 * matrix, 4 * matrix + 2], 1),
                torch.cat([4 * matrix + 3, 4 * matrix + 1], 1),
            ]
        )
    return matrix
