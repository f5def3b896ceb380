"""How a run's hypervolume grows, and when it has stopped growing."""

import numpy as np
import pandas as pd

from nas.analysis.pareto import front, hypervolume
from nas.analysis.results import RunState, costs, table
from nas.record import GOALS

WORST = 2.0  # the reference of a minimised column, in units of the baseline's value
MIN_WINDOW = 10  # trials
WINDOW_SHARE = 1 / 3  # of all trials
MIN_GROWTH = 0.01  # of the hypervolume


def reference(state: RunState, frame: pd.DataFrame) -> dict[str, float] | None:
    """The worst value of each objective that still counts; None until the baseline's row tells it.

    PSNR columns start at the fixed base alone (bicubic), the others at twice the baseline's value. Both are
    known with row 0, so the point stays where it is as the run goes on.
    """
    rows = frame[frame["number"] == 0]
    if rows.empty:
        return None
    row = rows.iloc[0]
    point = {name: WORST * row[name] for name in state.objectives}
    if "psnr_db" in point:
        point["psnr_db"] = row["psnr_base_db"]
    if "psnr_gain_db" in point:  # the gain of the base itself
        point["psnr_gain_db"] = row["psnr_base_db"] - (row["psnr_db"] - row["psnr_gain_db"])
    if any(pd.isna(value) for value in point.values()) or any(
        point[name] <= 0 for name in point if GOALS[name].direction == "minimize"
    ):
        return None
    return {name: float(value) for name, value in point.items()}


def volumes(frame: pd.DataFrame, eligible: np.ndarray, state: RunState) -> np.ndarray:
    """The hypervolume after each row, (N,); NaN without a reference point.

    PSNR counts in dB, every minimised column in shares of the baseline's value: the front of params and
    flops has a volume near that of the front of runtime_ratio, not one of 10^15.

    Args:
        eligible: (N,), the rows that may add to it.
    """
    point = reference(state, frame)
    if point is None:
        return np.full(len(frame), np.nan)
    signs = [-1.0 if GOALS[name].direction == "maximize" else 1.0 for name in state.objectives]
    units = np.array(
        [1.0 if sign < 0 else point[name] / WORST for name, sign in zip(point, signs, strict=True)]
    )
    corner = np.array(list(point.values())) * np.array(signs) / units
    values = costs(frame, state.objectives) / units
    fidelity = frame["fidelity"].astype(float).to_numpy()
    complete = (frame["state"] == "complete").to_numpy()
    top = fidelity[complete].max(initial=0.0)
    counts = eligible & (fidelity == top) & np.isfinite(values).all(axis=1)
    volumes, members, volume = np.zeros(len(frame)), np.empty((0, values.shape[1])), 0.0
    for place in range(len(frame)):
        if counts[place] and not (members <= values[place]).all(axis=1).any():
            members = np.vstack([members, values[place]])
            members = members[front(members)]  # few stay, so the volume is cheap at any length of run
            volume = hypervolume(members, corner)
        volumes[place] = volume
    return volumes


def eligible(frame: pd.DataFrame) -> np.ndarray:
    """The rows that may add to a hypervolume, (N,): complete and not infeasible."""
    return ((frame["state"] == "complete") & (frame["feasible"] != "no")).to_numpy()


def has_plateaued(state: RunState) -> bool:
    """Whether the last third of the trials, ten at least, raised the hypervolume by less than 1 %."""
    frame = table(state)
    frame = frame[frame["state"] != "rejected"]
    trials = len(frame) - 1  # but row 0
    window = max(MIN_WINDOW, int(trials * WINDOW_SHARE))
    if trials < 2 * window:
        return False
    grown = volumes(frame, eligible(frame), state)
    return bool(grown[-1] - grown[-1 - window] < MIN_GROWTH * grown[-1])  # NaN: it is not known
