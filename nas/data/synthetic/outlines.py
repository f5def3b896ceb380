"""The outlines of leaves: discs, blobs, polygons, rectangles, bars and strokes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]  # (K, 2): x and y


@dataclass(frozen=True, slots=True)
class Outline:
    """A closed polygon about the origin; it reaches about 1 from there, thin ones 2."""

    points: list[tuple[float, float]]
    area: float


def draw_outlines(rng: np.random.Generator, count: int) -> list[Outline]:
    """Draw so many outlines of all kinds."""
    kinds = list(SHARES)
    shares = np.array(list(SHARES.values()))
    chosen = rng.choice(len(kinds), count, p=shares / shares.sum())
    return [_close_outline(kinds[kind](rng)) for kind in chosen]


def _close_outline(points: Points) -> Outline:
    x, y = points[:, 0], points[:, 1]
    area = abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2  # the shoelace formula
    return Outline([(float(u), float(v)) for u, v in points], float(area))


def _draw_disc(rng: np.random.Generator) -> Points:
    angles = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles) * rng.uniform(0.35, 1)], axis=1)


def _draw_blob(rng: np.random.Generator) -> Points:
    """Return a smooth outline: a circle whose radius is a few random waves."""
    angles = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    waves = np.arange(2, 7)
    heights = rng.normal(0, 0.5, len(waves)) / waves
    shifts = rng.uniform(0, 2 * math.pi, len(waves))
    radii = np.maximum(1 + np.cos(np.outer(angles, waves) + shifts) @ heights, 0.15)
    radii = radii / radii.max()
    return np.stack([np.cos(angles) * radii, np.sin(angles) * radii], axis=1)


def _draw_polygon(rng: np.random.Generator) -> Points:
    """Three to eight corners around the origin."""
    corners = int(rng.integers(3, 9))
    angles = np.sort(rng.uniform(0, 2 * math.pi, corners))
    radii = rng.uniform(0.5, 1, corners)
    return np.stack([np.cos(angles) * radii, np.sin(angles) * radii], axis=1)


def _draw_rectangle(rng: np.random.Generator) -> Points:
    half = float(rng.uniform(0.25, 1))
    return np.array([[-1, -half], [1, -half], [1, half], [-1, half]])


def _draw_bar(rng: np.random.Generator) -> Points:
    half = float(np.exp(rng.uniform(math.log(0.03), math.log(0.15))))
    taper = float(rng.uniform(0.3, 1))
    return np.array([[-2, -half], [2, -half * taper], [2, half * taper], [-2, half]])


def _draw_stroke(rng: np.random.Generator) -> Points:
    """Return a bent line of some width, as twigs, cables and contours are."""
    along = np.linspace(-1, 1, 20)
    bend = rng.normal(0, 0.5, 3)
    middle = np.stack(
        [2 * along, bend[0] * along**2 + bend[1] * along**3 + bend[2] * np.sin(3 * along)], axis=1
    )

    # A band along the line, thinner towards its ends.
    slope = np.gradient(middle, axis=0)
    normal = np.stack([-slope[:, 1], slope[:, 0]], axis=1) / np.linalg.norm(
        slope, axis=1, keepdims=True
    )
    width = float(np.exp(rng.uniform(math.log(0.03), math.log(0.12))))
    edge = normal * (width * (1 - 0.7 * rng.random() * np.abs(along)))[:, None]
    return np.concatenate([middle + edge, (middle - edge)[::-1]])


SHARES: dict[Callable[[np.random.Generator], Points], float] = {
    _draw_disc: 0.15,
    _draw_blob: 0.25,
    _draw_polygon: 0.2,
    _draw_rectangle: 0.15,
    _draw_bar: 0.12,
    _draw_stroke: 0.13,
}
