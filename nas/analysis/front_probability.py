"""How probable it is that a row belongs to the front, by the noise of its PSNR and of its runtime."""

import math

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.analysis.pareto import front
from nas.record import GOALS
from nas.score import Weights

DRAWS = 400
CI = 1.96  # half-widths of 95 % intervals in standard deviations
SURE = 4.0  # standard deviations beyond which nothing is expected to come out otherwise
Floats = npt.NDArray[np.float64]


def front_probability(
    rows: pd.DataFrame,
    objectives: tuple[str, ...],
    *,
    seed_std_db: float,
    gate_db: float | None,
    weights: Weights,
) -> Floats:
    """The share of redrawn readings in which a row is on the front, (N,).

    PSNR is redrawn with the deviation of seeds, over the root of the seeds that a row was trained with;
    runtime with that of its reading; what is exact stays. The same rows give the same shares.

    Args:
        rows: those that count but for the gate; columns as `nas.analysis.results.table`'s.
        seed_std_db: of one training.
        gate_db: least gain of what may be on the front; None: it is not believed.
        weights: of the score.
    """
    count = len(rows)
    stds = {name: _std(rows, name, seed_std_db, weights) for name in (*objectives, "psnr_gain_db")}
    means = {name: rows[name].to_numpy(dtype=float) for name in stds}
    signs = {name: -1.0 if GOALS[name].direction == "maximize" else 1.0 for name in objectives}
    costs = np.column_stack([signs[name] * means[name] for name in objectives])
    spread = np.column_stack([stds[name] for name in objectives])
    gains, gain_stds = means["psnr_gain_db"], stds["psnr_gain_db"]
    near = _may_belong(costs, SURE * spread)
    if gate_db is not None:
        near &= gains + SURE * gain_stds >= gate_db
    places = np.flatnonzero(near)
    rng = np.random.default_rng(0)
    hits = np.zeros(count)
    for _ in range(DRAWS):
        luck_db, luck_ms = rng.standard_normal((2, count))
        drawn = costs.copy()
        for column, name in enumerate(objectives):
            luck = signs[name] * luck_db if name.startswith("psnr") else luck_ms
            drawn[:, column] += luck * stds[name]
        kept = places
        if gate_db is not None:
            kept = places[(gains + luck_db * gain_stds)[places] >= gate_db]
        if len(kept):
            hits[kept[front(drawn[kept])]] += 1
    return hits / DRAWS


def _std(rows: pd.DataFrame, name: str, seed_std_db: float, weights: Weights) -> Floats:
    """Standard deviation of a column's readings, (N,)."""
    if name.startswith("psnr"):
        return np.asarray(seed_std_db / np.sqrt(rows["psnr_seeds"].to_numpy(dtype=float)))
    ratio = rows["runtime_ratio"].to_numpy(dtype=float, na_value=math.nan)
    std = rows["runtime_ci"].to_numpy(dtype=float, na_value=math.nan) / CI
    scales = {
        "runtime_ratio": 1.0,
        "runtime_ms": rows["runtime_ms"].to_numpy(dtype=float) / ratio,
        "score": weights.runtime * 2 * np.exp(2 * ratio),  # the slope of its only noisy part
    }
    return np.nan_to_num(std * scales[name]) if name in scales else np.zeros(len(rows))


def _may_belong(costs: Floats, reach: Floats) -> npt.NDArray[np.bool_]:
    """The rows that no other beats even where each is as lucky as can be and the other as unlucky, (N,)."""
    best, worst = costs - reach, costs + reach
    rivals = worst[front(worst)]
    return np.asarray(~(rivals[:, None] < best[None]).all(axis=2).any(axis=0))
