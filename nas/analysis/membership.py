"""Which rows are on a run's front, how surely, and which of them timing cannot tell apart."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from nas.analysis.columns import BY_NAME, GOALS
from nas.analysis.front_probability import front_probability
from nas.analysis.pareto import front
from nas.analysis.run_state import RunState

Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]


def costs(frame: pd.DataFrame, objectives: tuple[str, ...]) -> np.ndarray:
    """Return the objectives as an array (rows, objectives) in which smaller is better.

    Example:
        >>> frame = pd.DataFrame({"psnr_db": [26.9], "params": [150688]})
        >>> costs(frame, ("psnr_db", "params")).tolist()
        [[-26.9, 150688.0]]
    """
    signs = [-1.0 if GOALS[name].direction == "maximize" else 1.0 for name in objectives]
    values = frame[list(objectives)].to_numpy(dtype=float, na_value=np.nan)
    return np.asarray(values * np.array(signs))


def fill_membership(frame: pd.DataFrame, state: RunState) -> None:
    """Fill the columns of a run's table that depend on all of its rows, in place."""
    contenders = find_contenders(frame, state)
    frame["on_front"] = np.where(_mark_front(frame, state, contenders), "yes", "no")
    frame["front_probability"] = _estimate_probability(frame, state, contenders)
    frame["ties"] = _list_ties(frame, state)


def find_contenders(frame: pd.DataFrame, state: RunState) -> Places:
    """Return the places of the rows that compete for the front, whatever the PSNR gate says.

    These are complete, at the highest fidelity, measured in every objective, timed under the same
    conditions where an objective depends on timing, and within the limits.
    """
    complete = (frame["state"] == "complete").to_numpy()
    if not complete.any():
        return np.zeros(0, dtype=np.intp)
    fidelity = frame["fidelity"].astype(float).to_numpy()
    at_top = fidelity == fidelity[complete].max()

    # A gain is missing until the last rung of the ladder, its reference, was trained.
    objectives = list(state.objectives)
    measured = frame[objectives].notna().all(axis=1).to_numpy()
    if _is_timed(state):
        measured = measured & _find_comparable(state)

    # A cell that is missing breaks no limit here; `feasible` is then unknown.
    within = np.ones(len(frame), dtype=bool)
    for name, limit in state.limits.items():
        within &= ~(frame[name].astype(float).to_numpy() > limit)
    return np.flatnonzero(complete & at_top & measured & within)


def explain_empty_front(frame: pd.DataFrame, state: RunState) -> str:
    """Say why no row is on the front, and what to do; empty where one is.

    Args:
        frame: the run's table.
    """
    if (frame["on_front"] == "yes").any():
        return ""
    finished = frame[(frame["state"] == "complete") & (frame["number"] != 0)]
    if finished.empty:
        return "no trial has finished yet"

    # A network can lie below the gate, over a limit, or both.
    reasons, gate_db = [], state.challenge.gate.min_gain_db
    gains_db = finished["psnr_gain_db"].to_numpy(dtype=float)
    below = gains_db < gate_db
    if state.can_rank and below.any():
        nearest = int(np.argmax(np.where(below, gains_db, -np.inf)))
        reasons.append(
            f"{below.sum()} below the gate ({gate_db:+.2f} dB; the nearest, trial "
            f"{finished['number'].iloc[nearest]}, has {gains_db[nearest]:+.3f} dB)"
        )
    for name, limit in state.limits.items():
        num_over = int((finished[name].astype(float) > limit).sum())
        if num_over:
            reasons.append(f"{num_over} over limits.{name}={limit:.10g}")
    return (
        f"none of the {len(finished)} finished trials is on the front: "
        f"{', '.join(reasons) or 'none is measured in every objective'}; "
        "name a trial by its number, search on, or start a run with another gate or limit"
    )


def _mark_front(frame: pd.DataFrame, state: RunState, contenders: Places) -> Mask:
    """Mark the members of the front, (N,); what a believed gate refuses neither joins nor beats."""
    mask = np.zeros(len(frame), dtype=np.bool_)
    feasible = contenders[(frame["feasible"] != "no").to_numpy()[contenders]]
    if len(feasible):
        mask[feasible] = front(costs(frame.iloc[feasible], state.objectives))
    return mask


def _estimate_probability(frame: pd.DataFrame, state: RunState, contenders: Places) -> np.ndarray:
    """Return each row's probability to be on the front, (N,).

    NaN for a row that does not compete, and everywhere while the noise of seeds is not known.
    """
    probability = np.full(len(frame), np.nan)
    verdict = state.verdict
    if verdict is not None and verdict.seed_std_db is not None and len(contenders):
        probability[contenders] = front_probability(
            frame.iloc[contenders],
            state.objectives,
            seed_std_db=verdict.seed_std_db,
            gate_db=state.challenge.gate.min_gain_db if verdict.passes else None,
            weights=state.challenge.weights,
        )
    return probability


def _is_timed(state: RunState) -> bool:
    """Return whether a latency decides one of the objectives."""
    return any(BY_NAME[name].noise == "latency" for name in state.objectives)


def _find_comparable(state: RunState) -> Mask:
    """Mark the rows that were timed under the conditions of the run's first reading, (N,).

    Ratios of another device, mode, dtype or size say nothing beside them.
    """
    conditions = [record.latency and record.latency.conditions for record in state.records]
    first = next((timed for timed in conditions if timed), None)
    return np.array([timed is not None and timed == first for timed in conditions], dtype=bool)


def _list_ties(frame: pd.DataFrame, state: RunState) -> list[str]:
    """Return, per row, the numbers of other front members whose runtime interval overlaps its own.

    Empty where no objective depends on timing, and for a row that was timed otherwise.
    """
    if not _is_timed(state):
        return [""] * len(frame)
    numbers = frame["number"].to_numpy()
    # Ratios are compared whatever the objective: runtime and score follow from them.
    ratio, ci = frame["runtime_ratio"].to_numpy(), frame["runtime_ci"].to_numpy()
    comparable = _find_comparable(state)
    members = np.flatnonzero((frame["on_front"] == "yes").to_numpy())

    ties = [""] * len(frame)
    for row in np.flatnonzero(comparable):
        overlaps = np.abs(ratio[members] - ratio[row]) <= ci[members] + ci[row]
        ties[row] = " ".join(str(numbers[other]) for other in members[overlaps] if other != row)
    return ties
