"""What a candidate is expected to add to the front: quality uncertain, costs known or predicted."""

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr
from scipy.stats import qmc

from nas.analysis.pareto import front

Floats = npt.NDArray[np.float64]
NUM_CORNERS = 512  # points at which the front of three and more objectives is looked at


def expected_excess(mean: Floats, std: Floats, level: Floats | float) -> Floats:
    """E[max(q - level, 0)] of normal q, element by element."""
    excess = mean - level
    safe = np.where(std > 0, std, 1.0)
    z = excess / safe
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.where(std > 0, safe * (z * ndtr(z) + density), np.maximum(excess, 0.0))


def hypervolume_gain(
    mean: Floats,
    std: Floats,
    costs: Floats,
    *,
    seen_quality: Floats,
    seen_costs: Floats,
    floor: float,
    ceiling: Floats,
    seed: int,
) -> Floats:
    """The hypervolume that each candidate is expected to add, its quality normal and its costs certain.

    At every corner z of cost space the front has a level: the best quality among what costs no more. A
    candidate that costs no more than z adds its expected excess over that level; the gain is the integral
    over z. With one cost the levels are steps and the sum is exact; with more the integral is taken at
    quasi-random corners.

    Args:
        mean, std: (N,), of the quality; larger is better.
        costs: (N, K), smaller is better; K may be 0.
        seen_quality, seen_costs: (M,), (M, K).
        floor, ceiling: the reference point: worst quality, worst costs (K,).
    """
    num_costs = costs.shape[1]
    if num_costs == 0:
        return expected_excess(mean, std, max([floor, *seen_quality]))
    if len(seen_quality):  # the others make no level
        members = front(np.column_stack([-seen_quality, seen_costs]))
        seen_quality, seen_costs = seen_quality[members], seen_costs[members]
    if num_costs == 1:
        return _steps(mean, std, costs[:, 0], seen_quality, seen_costs[:, 0], floor, float(ceiling[0]))
    low = np.concatenate([costs, seen_costs]).min(axis=0)
    corners = low + qmc.Sobol(num_costs, seed=seed).random(NUM_CORNERS) * (ceiling - low)
    gains = np.zeros(len(mean))
    for corner in corners:
        below = (seen_costs <= corner).all(axis=1)
        level = max(floor, float(seen_quality[below].max())) if below.any() else floor
        fits = (costs <= corner).all(axis=1)
        gains[fits] += expected_excess(mean[fits], std[fits], level)
    return gains * float(np.prod(ceiling - low)) / NUM_CORNERS


def _steps(
    mean: Floats,
    std: Floats,
    costs: Floats,
    seen_quality: Floats,
    seen_costs: Floats,
    floor: float,
    ceiling: float,
) -> Floats:
    order = np.argsort(seen_costs, kind="stable")
    starts = np.concatenate([[-np.inf], seen_costs[order]])
    ends = np.minimum(np.append(starts[1:], ceiling), ceiling)
    levels = np.maximum.accumulate(np.concatenate([[floor], seen_quality[order]]))
    by_cost = np.argsort(costs)
    mean, std, costs = mean[by_cost], std[by_cost], costs[by_cost]
    sums = np.zeros(len(mean))
    counts = np.searchsorted(costs, ends)  # the candidates that are cheaper than a step's end
    for start, end, level, count in zip(starts, ends, levels, counts, strict=True):
        if end > start:
            width = end - np.maximum(start, costs[:count])
            sums[:count] += width * expected_excess(mean[:count], std[:count], level)
    gains = np.empty(len(mean))
    gains[by_cost] = sums
    return gains
