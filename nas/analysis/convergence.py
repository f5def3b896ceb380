"""How a run's hypervolume grows, and when it has stopped growing."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.analysis.columns import GOALS
from nas.analysis.membership import costs
from nas.analysis.pareto import front, hypervolume
from nas.analysis.results import table
from nas.analysis.run_state import RunState

WORST = 2.0  # reference of a minimised column, in units of the baseline's value
MIN_WINDOW = 10  # trials
WINDOW_SHARE = 1 / 3  # of all trials
MIN_GROWTH = 0.01  # of the hypervolume


def reference(state: RunState, frame: pd.DataFrame) -> dict[str, float] | None:
    """Return the worst value of each objective that still counts.

    PSNR columns start at the fixed base alone (bicubic), minimised ones at twice the baseline's
    value. Both are known with row 0, so the point stays where it is as the run goes on.

    None while row 0 does not tell it, and for a maximised column whose base is not known.
    """
    rows = frame[frame["number"] == 0]
    if rows.empty:
        return None
    baseline = rows.iloc[0]

    # The ladder's mean for the reference network, which row 0 itself may miss by its noise.
    reference_psnr_db = baseline["psnr_db"] - baseline["psnr_gain_db"]
    bases = {
        "psnr_db": baseline["psnr_base_db"],
        "psnr_gain_db": baseline["psnr_base_db"] - reference_psnr_db,
    }
    point = {}
    for name in state.objectives:
        is_maximised = GOALS[name].direction == "maximize"
        value = bases.get(name) if is_maximised else WORST * baseline[name]
        if value is None or pd.isna(value) or (not is_maximised and value <= 0):
            return None
        point[name] = float(value)
    return point


def volumes(frame: pd.DataFrame, eligible: np.ndarray, state: RunState) -> np.ndarray:
    """Return the hypervolume after each row, (N,); NaN without a reference point.

    PSNR counts in dB, every minimised column in shares of the baseline's value, so that the front
    of params and flops has a volume near that of runtime_ratio's, not one of 10^15.

    Args:
        eligible: (N,), the rows that may add to it.
    """
    point = reference(state, frame)
    if point is None:
        return np.full(len(frame), np.nan)

    # Turned so that smaller is better, and each in its own unit.
    signs = [-1.0 if GOALS[name].direction == "maximize" else 1.0 for name in state.objectives]
    units = np.array(
        [1.0 if sign < 0 else point[name] / WORST for name, sign in zip(point, signs, strict=True)]
    )
    corner = np.array(list(point.values())) * np.array(signs) / units
    values = costs(frame, state.objectives) / units

    # Only rows at the top fidelity can be on the front.
    fidelity = frame["fidelity"].astype(float).to_numpy()
    complete = (frame["state"] == "complete").to_numpy()
    at_top = fidelity == fidelity[complete].max(initial=0.0)
    counts = eligible & at_top & np.isfinite(values).all(axis=1)
    return _accumulate_volumes(values, counts, corner)


def _accumulate_volumes(
    values: np.ndarray, counts: npt.NDArray[np.bool_], corner: np.ndarray
) -> np.ndarray:
    """Return the hypervolume of the rows that count up to each row, (N,)."""
    volumes = np.zeros(len(values))
    members = np.empty((0, values.shape[1]))
    volume = 0.0
    for place in range(len(values)):
        # The volume changes only with a row that no member equals or beats; members are few, so
        # it is cheap at any length of run.
        if counts[place] and not (members <= values[place]).all(axis=1).any():
            members = np.vstack([members, values[place]])
            members = members[front(members)]
            volume = hypervolume(members, corner)
        volumes[place] = volume
    return volumes


def eligible(frame: pd.DataFrame) -> np.ndarray:
    """Mark the rows that may add to a hypervolume, (N,): complete and not infeasible."""
    return ((frame["state"] == "complete") & (frame["feasible"] != "no")).to_numpy()


def has_plateaued(state: RunState) -> bool:
    """Return whether the last third of the trials, at least ten, added under 1 % of hypervolume."""
    frame = table(state)
    frame = frame[frame["state"] != "rejected"]
    num_trials = len(frame) - 1  # row 0 is no trial
    # A window of a third, so that a long run has to be quiet for longer before it stops.
    window = max(MIN_WINDOW, int(num_trials * WINDOW_SHARE))
    if num_trials < 2 * window:
        return False

    grown = volumes(frame, eligible(frame), state)
    growth = grown[-1] - grown[-1 - window]
    return bool(growth < MIN_GROWTH * grown[-1])  # False where they are NaN, so not known
