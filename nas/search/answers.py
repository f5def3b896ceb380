"""What Optuna is told of a trial: values, and the limits and the gate as constraints."""

from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.trial import TrialState

from nas.analysis.results import row_of
from nas.analysis.run_state import RunState
from nas.record import TrialRecord

UNKNOWN_RUNTIME = 2.0  # what a rejected candidate that was not measured is told to cost


def answer(
    study: optuna.Study,
    handle: int,
    record: TrialRecord | None,
    state: RunState,
    expected: Callable[[Mapping[str, Any]], dict[str, float]],
) -> None:
    """Finish an Optuna trial, by its id.

    Args:
        record: None: it is not known yet; told as a failure, as one that failed is.
        expected: the PSNR columns at the end of a training, for the row of one that paused: Optuna is told
            once.
    """
    trial = optuna.trial.Trial(study, handle)
    if record is None or record.state == "failed":
        study.tell(trial, state=TrialState.FAIL)
        return
    row = row_of(record, state, state.yardstick)
    if record.state == "complete" and row.get("psnr_gain_db") is not None:
        row |= expected(row)
    if record.state == "rejected":  # as if it had learned nothing: a limit fails, so it ranks behind
        row |= {"psnr_gain_db": base_gain(state), "psnr_db": base_gain(state)}
        row = {"runtime_ratio": UNKNOWN_RUNTIME, "runtime_ms": 1e9, "score": 1e3} | {
            name: value for name, value in row.items() if value is not None
        }
    for name, limit in state.limits.items():
        if row.get(name) is not None:
            trial.set_constraint(name, row[name] / limit - 1)
    if state.can_rank and row.get("psnr_gain_db") is not None:
        trial.set_constraint("psnr_gain_db", state.challenge.gate.min_gain_db - row["psnr_gain_db"])
    study.tell(trial, [float(row[name]) for name in state.objectives])


def base_gain(state: RunState) -> float:
    """What the fixed base gains over the reference, in dB; 0 before the ladder."""
    if not state.ladder:
        return 0.0
    yardstick = state.yardstick
    assert yardstick.top_fidelity
    return state.ladder[0].base_db - yardstick.references[yardstick.top_fidelity]
