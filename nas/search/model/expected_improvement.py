"""Expected improvements: what a candidate of uncertain quality is expected to add to what is known."""

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from nas.analysis.pareto import front

Floats = npt.NDArray[np.float64]
NUM_CORNERS = 512  # points at which the front of three and more objectives is looked at


def expected_improvement(mean: Floats, std: Floats, level: Floats | float) -> Floats:
    """Return E[max(q - level, 0)] of normal q, element by element."""
    excess = mean - level
    safe_std = np.where(std > 0, std, 1.0)
    z = excess / safe_std
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.where(std > 0, safe_std * (z * ndtr(z) + density), np.maximum(excess, 0.0))


def expected_hypervolume_improvement(
    mean: Floats,
    std: Floats,
    costs: Floats,
    *,
    front_quality: Floats,
    front_costs: Floats,
    floor: float,
    ceiling: Floats,
    seed: int,
) -> Floats:
    """Return the hypervolume that each candidate is expected to add: quality is normal, costs are certain.

    At every corner z of cost space the front has a level: the best quality among what costs no more. A
    candidate that costs no more than z adds its expected improvement over that level; the result is the
    integral over z. With one cost the levels are steps and the sum is exact; with more the integral is
    taken at quasi-random corners.

    Args:
        mean, std: (N,), of the quality; larger is better.
        costs: (N, K), smaller is better; K may be 0.
        front_quality, front_costs: (M,), (M, K), of what is known; it need not be a front yet.
        floor, ceiling: the reference point: worst quality, worst costs (K,).
        seed: of the corners.
    """
    num_costs = costs.shape[1]
    if num_costs == 0:
        return expected_improvement(mean, std, max([floor, *front_quality]))

    # Only members of the front set a level.
    if len(front_quality):
        members = front(np.column_stack([-front_quality, front_costs]))
        front_quality, front_costs = front_quality[members], front_costs[members]

    if num_costs == 1:
        return _sum_over_steps(
            mean, std, costs[:, 0], front_quality, front_costs[:, 0], floor, float(ceiling[0])
        )

    # Slow to load, and searches of one cost, which most are, need none of it.
    from scipy.stats import qmc

    # With several costs: average over corners between the cheapest and the ceiling.
    low = np.concatenate([costs, front_costs]).min(axis=0)
    corners = low + qmc.Sobol(num_costs, seed=seed).random(NUM_CORNERS) * (ceiling - low)
    total = np.zeros(len(mean))
    for corner in corners:
        cheaper = (front_costs <= corner).all(axis=1)
        level = max(floor, float(front_quality[cheaper].max())) if cheaper.any() else floor
        fits = (costs <= corner).all(axis=1)
        total[fits] += expected_improvement(mean[fits], std[fits], level)
    return total * float(np.prod(ceiling - low)) / NUM_CORNERS


def _sum_over_steps(
    mean: Floats,
    std: Floats,
    costs: Floats,
    front_quality: Floats,
    front_costs: Floats,
    floor: float,
    ceiling: float,
) -> Floats:
    """Return the exact integral over one cost: the front's level is constant between its members."""
    order = np.argsort(front_costs, kind="stable")
    starts = np.concatenate([[-np.inf], front_costs[order]])
    ends = np.minimum(np.append(starts[1:], ceiling), ceiling)
    levels = np.maximum.accumulate(np.concatenate([[floor], front_quality[order]]))

    # Candidates are sorted by cost: those that reach into a step are then a prefix.
    by_cost = np.argsort(costs)
    mean, std, costs = mean[by_cost], std[by_cost], costs[by_cost]
    counts = np.searchsorted(costs, ends)
    sums = np.zeros(len(mean))
    for start, end, level, count in zip(starts, ends, levels, counts, strict=True):
        if end > start:
            width = end - np.maximum(start, costs[:count])
            sums[:count] += width * expected_improvement(mean[:count], std[:count], level)

    improvements = np.empty(len(mean))
    improvements[by_cost] = sums
    return improvements
