"""Images that drive networks further than photographs do, on which float16 is tried."""

import torch
from torch import Tensor

TRIAL_SIZE = (45, 53)  # odd, so that borders and ragged tiles are part of the trial


def hostile_images(height: int = TRIAL_SIZE[0], width: int = TRIAL_SIZE[1]) -> dict[str, Tensor]:
    """Return patterns of screens, scans and tests, each (1, 3, H, W) in [0, 1], by name.

    - 1/0 noise, independent in each channel, and grey;
    - checkerboards and stripes in both directions, of one and of two pixels, grey and in colours
      that exclude each other (green where red and blue are not); for the finest checkerboard all
      three pairs;
    - an ordered dither of a ramp, white, and bars of the eight saturated colours.

    Those on which SPANV2 goes furthest come first: a trial ends sooner so.

    Example:
        >>> images = hostile_images(8, 8)
        >>> len(images), images["red checkerboard"][0, :, 0, :2].tolist()
        (19, [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    """
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return _draw_periodic(rows, columns) | _draw_others(rows, columns)


def _draw_periodic(rows: Tensor, columns: Tensor) -> dict[str, Tensor]:
    """Return checkerboards and stripes, from the row and the column of each pixel."""
    # Rows and columns count from 0; a pattern is the parity of such a count.
    planes = {
        "checkerboard": rows + columns,
        "horizontal stripes": rows,
        "vertical stripes": columns,
        "wide checkerboard": rows // 2 + columns // 2,
        "wide horizontal stripes": rows // 2,
        "wide vertical stripes": columns // 2,
    }

    # Green against red and blue comes before grey: it drives SPANV2 further.
    images: dict[str, Tensor] = {}
    for name, plane in planes.items():
        images[f"green {name}"] = _colour_parity(plane, [0, 1, 0])
        images[name] = _colour_parity(plane, [0, 0, 0])

    images["red checkerboard"] = _colour_parity(planes["checkerboard"], [1, 0, 0])
    images["blue checkerboard"] = _colour_parity(planes["checkerboard"], [0, 0, 1])
    return images


def _draw_others(rows: Tensor, columns: Tensor) -> dict[str, Tensor]:
    """Return noise, a dithered ramp, white and colour bars, from each pixel's row and column."""
    height, width = rows.shape
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 2, (1, 3, height, width), generator=generator).float()
    grey = torch.randint(0, 2, (1, 1, height, width), generator=generator).float()

    # Thresholds lie in the middle of 64 levels, so that black stays black and white white.
    ramp = columns / max(1, width - 1)
    thresholds = (_make_bayer_matrix(3)[rows % 8, columns % 8] + 0.5) / 64
    dithered = (ramp > thresholds).float()

    # The three bits of a bar's number are its red, green and blue.
    bars = 8 * columns // max(1, width)
    return {
        "noise": noise,
        "grey noise": grey.expand(1, 3, height, width),
        "dithered": dithered.expand(1, 3, height, width),
        "flat": torch.ones(1, 3, height, width),
        "bars": torch.stack([(bars >> bit) % 2 for bit in range(3)]).float()[None],
    }


def _colour_parity(plane: Tensor, inverse: list[int]) -> Tensor:
    """Return the parity of a plane in each channel, or its inverse where that says 1."""
    return torch.stack([(plane + inverted) % 2 for inverted in inverse]).float()[None]


def _make_bayer_matrix(order: int) -> Tensor:
    """Return the ordered-dither matrix of side 2**order, 0 to 4**order - 1."""
    matrix = torch.zeros(1, 1)
    for _ in range(order):
        top = torch.cat([4 * matrix, 4 * matrix + 2], 1)
        bottom = torch.cat([4 * matrix + 3, 4 * matrix + 1], 1)
        matrix = torch.cat([top, bottom])
    return matrix
