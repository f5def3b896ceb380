"""The leaves' looks: colours of photographs, gradients, stripes, checks and grain."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from nas.data.sets import Pixels
from nas.data.synthetic.leaves import Leaves, draw_leaves

Values = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]

OVERSAMPLING = 2  # a picture is drawn at twice its size: edges come out antialiased
GRAINS = 4  # different fields of grain in a picture
GRAIN_SIDE = 512  # of a field, in pixels


def paint_picture(rng: np.random.Generator, side: int, photographs: Sequence[Pixels]) -> Pixels:
    """Paint one picture of dead leaves: uint8 (side, side, 3).

    Args:
        rng: everything is drawn from it.
        side: in pixels.
        photographs: (H, W, 3) each; one of them lends the colours.
    """
    large = side * OVERSAMPLING
    leaves = draw_leaves(rng, large)
    photograph = photographs[int(rng.integers(len(photographs)))]
    colours = _choose_colours(rng, leaves, photograph)
    brightness = _shade_leaves(rng, leaves) + _draw_texture(rng, leaves)

    # What is brighter is so in all channels, though not by the same amount.
    tint = rng.normal(1, 0.25, (len(colours), 3)).astype(np.float32)[leaves.groups]
    picture = colours[leaves.labels] + brightness[..., None] * tint[leaves.labels]
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))

    # Every other lens is not quite sharp.
    if rng.random() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.2)) * OVERSAMPLING))
    return np.asarray(image.reduce(OVERSAMPLING))


def _choose_colours(rng: np.random.Generator, leaves: Leaves, photograph: Pixels) -> Values:
    """Give each leaf a colour of the photograph, (N, 3) in [0, 255].

    A part of the photograph is laid over the picture. Each leaf takes a pixel near its place, a
    large leaf
    from further away than a small one: neighbours have like colours, as in photographs.
    """
    height, width = photograph.shape[:2]
    side = leaves.labels.shape[0]

    # The part of the photograph, a square.
    part = rng.uniform(0.4, 1.0) * min(height, width)
    top, left = rng.uniform(0, height - part), rng.uniform(0, width - part)

    # A place in it for each leaf, the same for those of one group; mirrored at the edges.
    spread = np.minimum(0.35, 0.05 + 2 * leaves.radii / side)
    places = leaves.centres / side + rng.normal(0, 1, leaves.centres.shape) * spread[:, None]
    places = np.abs((places[leaves.groups] + 1) % 2 - 1)
    x = np.minimum((left + places[:, 0] * part).astype(int), width - 1)
    y = np.minimum((top + places[:, 1] * part).astype(int), height - 1)
    colours = photograph[y, x].astype(np.float32)

    # Half of the pictures have their channels in another order; each leaf is lighter or darker of
    # its own.
    order = rng.permutation(3) if rng.random() < 0.5 else np.arange(3)
    light = rng.normal(0, 14, len(colours)).astype(np.float32)[leaves.groups]
    own = rng.normal(0, 2.0, (len(colours), 1)).astype(np.float32)
    tinted: Values = colours[:, order] + light[:, None] + own
    return tinted


def _shade_leaves(rng: np.random.Generator, leaves: Leaves) -> Values:
    """Shade each leaf along a direction, by how much a pixel is brighter: (H, W)."""
    count = len(leaves.radii)
    strength = rng.normal(0, 22, count) / np.maximum(leaves.radii, 20)
    angle = rng.uniform(0, 2 * math.pi, count)
    along_x, along_y = np.cos(angle) * strength, np.sin(angle) * strength
    offset = -(along_x * leaves.centres[:, 0] + along_y * leaves.centres[:, 1])

    # Brightness is a x + b y + c in each leaf, zero at its centre.
    table = np.stack([along_x, along_y, offset]).astype(np.float32)
    y, x = _pixel_coordinates(leaves)
    labels = leaves.labels
    light: Values = np.clip(table[0][labels] * x + table[1][labels] * y + table[2][labels], -60, 60)
    return light


def _draw_texture(rng: np.random.Generator, leaves: Leaves) -> Values:
    """Draw waves or grain inside leaves, most of it faint, as how much a pixel is brighter: (H, W).

    All leaves of a group look alike.
    """
    kinds = rng.choice(["none", "waves", "grain"], len(leaves.radii), p=(0.35, 0.2, 0.45))
    kind_of_pixel = kinds[leaves.groups][leaves.labels]
    texture = np.zeros(leaves.labels.shape, np.float32)

    for kind, draw in (("waves", _draw_waves), ("grain", _draw_grain)):
        rows, columns = np.nonzero(kind_of_pixel == kind)
        groups = leaves.groups[leaves.labels[rows, columns]]
        texture[rows, columns] = draw(rng, len(kinds), groups, rows, columns)
    return texture


def _draw_waves(
    rng: np.random.Generator, count: int, groups: Indices, rows: Indices, columns: Indices
) -> Values:
    """Draw sines along one direction, or products of two: stripes and checks, soft or hard-edged.

    Args:
        count: number of leaves.
        groups: (K,): which of them a pixel looks like.
        rows, columns: (K,): where the pixels are.
    Returns:
        (K,): brightness.
    """
    period = np.exp(rng.uniform(math.log(5), math.log(60), count))
    angle = rng.uniform(0, 2 * math.pi, count)
    height = np.exp(rng.uniform(math.log(5), math.log(45), count)).astype(np.float32)
    steepness = np.exp(rng.uniform(0, math.log(8), count)).astype(np.float32)
    is_check = rng.random(count) < 0.4

    # A wave vector for each leaf, and one across it.
    along_x = (2 * math.pi / period * np.cos(angle)).astype(np.float32)[groups]
    along_y = (2 * math.pi / period * np.sin(angle)).astype(np.float32)[groups]
    y, x = rows.astype(np.float32), columns.astype(np.float32)
    wave = np.sin(along_x * x + along_y * y)
    across = np.sin(along_x * y - along_y * x)
    wave = np.where(is_check[groups], wave * across, wave)
    return np.clip(wave * steepness[groups], -1, 1) * height[groups]


def _draw_grain(
    rng: np.random.Generator, count: int, groups: Indices, rows: Indices, columns: Indices
) -> Values:
    """Draw noise of power-law spectra, as rough or woven surfaces show; see `_draw_waves`."""
    fields = np.stack([_draw_noise(rng) for _ in range(GRAINS)])
    field = rng.integers(GRAINS, size=count)[groups]
    height = np.exp(rng.uniform(math.log(2), math.log(30), count)).astype(np.float32)[groups]
    return fields[field, rows % GRAIN_SIDE, columns % GRAIN_SIDE] * height


def _draw_noise(rng: np.random.Generator) -> Values:
    """Draw periodic noise of a power-law spectrum, stretched in one direction.

    Returns:
        (GRAIN_SIDE, GRAIN_SIDE), with mean 0 and standard deviation 1.
    """
    power = rng.uniform(0.4, 1.6)
    angle, stretch = rng.uniform(0, math.pi), np.exp(rng.uniform(0, math.log(6)))
    fy, fx = np.fft.fftfreq(GRAIN_SIDE)[:, None], np.fft.rfftfreq(GRAIN_SIDE)[None]

    # Stretched frequencies give a grain with a direction, as wood and cloth have.
    along = fx * np.cos(angle) + fy * np.sin(angle)
    across = (fy * np.cos(angle) - fx * np.sin(angle)) * stretch
    amplitude = (np.hypot(along, across) + 2 / GRAIN_SIDE) ** -power
    amplitude[np.hypot(fx, fy) > 0.35] = 0  # what the picture could not hold at half the size

    phases = np.exp(2j * math.pi * rng.random(amplitude.shape))
    field = np.fft.irfft2(amplitude * phases, (GRAIN_SIDE, GRAIN_SIDE))
    noise: Values = ((field - field.mean()) / field.std()).astype(np.float32)
    return noise


def _pixel_coordinates(leaves: Leaves) -> tuple[Values, Values]:
    """Return y (H, 1) and x (1, W) of the pixels."""
    height, width = leaves.labels.shape
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None]
    return y, x
