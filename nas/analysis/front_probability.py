"""How probable it is that a row belongs to the front, given the noise of its readings."""

import math

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.analysis.columns import BY_NAME, GOALS
from nas.analysis.pareto import front
from nas.score import Weights

DRAWS = 400
CI_STDS = 1.96  # half-width of a 95 % interval, in standard deviations
SURE_STDS = 4.0  # standard deviations beyond which no draw is expected to fall
Floats = npt.NDArray[np.float64]


def front_probability(
    rows: pd.DataFrame,
    objectives: tuple[str, ...],
    *,
    seed_std_db: float,
    gate_db: float | None,
    weights: Weights,
) -> Floats:
    """Return the share of redrawn readings in which each row is on the front, (N,).

    PSNR is redrawn with the deviation of seeds, divided by the root of the number of seeds that a
    row was trained with; runtime with the deviation of its reading. What is exact stays. The same
    rows give the same shares.

    Args:
        rows: those that compete for the front, with the columns of `nas.analysis.results.table`.
        seed_std_db: of a training with one seed.
        gate_db: smallest gain of a member; None: the gate is not believed.
        weights: of the score.
    """
    # The gain is redrawn too where it is no objective, as the gate is about it.
    stds = {
        name: _estimate_std(rows, name, seed_std_db, weights)
        for name in (*objectives, "psnr_gain_db")
    }
    means = {name: rows[name].to_numpy(dtype=float) for name in stds}
    signs = {name: -1.0 if GOALS[name].direction == "maximize" else 1.0 for name in objectives}
    costs = np.column_stack([signs[name] * means[name] for name in objectives])
    spread = np.column_stack([stds[name] for name in objectives])
    gains, gain_stds = means["psnr_gain_db"], stds["psnr_gain_db"]

    # A draw costs a front, so rows that no luck brings there are left out of all draws.
    may_belong = _find_possible_members(costs, SURE_STDS * spread)
    if gate_db is not None:
        may_belong &= gains + SURE_STDS * gain_stds >= gate_db
    possible = np.flatnonzero(may_belong)

    rng = np.random.default_rng(0)
    hits = np.zeros(len(rows))
    for _ in range(DRAWS):
        # One deviate a row and source of noise: PSNR and gain, or ratio and score, move together.
        seed_luck, timing_luck = rng.standard_normal((2, len(rows)))
        drawn = costs.copy()
        for place, name in enumerate(objectives):
            is_psnr = BY_NAME[name].noise == "seeds"
            drawn[:, place] += (signs[name] * seed_luck if is_psnr else timing_luck) * stds[name]

        feasible = possible
        if gate_db is not None:
            feasible = possible[(gains + seed_luck * gain_stds)[possible] >= gate_db]
        if len(feasible):
            hits[feasible[front(drawn[feasible])]] += 1
    return hits / DRAWS


def _estimate_std(rows: pd.DataFrame, name: str, seed_std_db: float, weights: Weights) -> Floats:
    """Return the standard deviation of a column's readings, (N,); 0 where it is exact."""
    noise = BY_NAME[name].noise
    if noise is None:
        return np.zeros(len(rows))
    if noise == "seeds":
        return np.asarray(seed_std_db / np.sqrt(rows["psnr_seeds"].to_numpy(dtype=float)))

    ratio = rows["runtime_ratio"].to_numpy(dtype=float, na_value=math.nan)
    ratio_std = rows["runtime_ci"].to_numpy(dtype=float, na_value=math.nan) / CI_STDS
    if name == "score":
        # To first order: its derivative by the ratio, its only noisy part.
        slope = weights.runtime * 2 * np.exp(2 * ratio)
        return np.asarray(np.nan_to_num(ratio_std * slope))

    # Every other reading of time is in proportion to the ratio.
    slope = rows[name].to_numpy(dtype=float, na_value=math.nan) / ratio
    return np.asarray(np.nan_to_num(ratio_std * slope))


def _find_possible_members(costs: Floats, reach: Floats) -> npt.NDArray[np.bool_]:
    """Mark the rows that can be on the front at all, (N,).

    That is, no other row beats them in every objective even where each is as lucky as can be and
    the other as unlucky.
    """
    best, worst = costs - reach, costs + reach
    strongest = worst[front(worst)]
    return np.asarray(~(strongest[:, None] < best[None]).all(axis=2).any(axis=0))
