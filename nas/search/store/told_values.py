"""What Optuna is told of a trial: values, and the limits and the gate as constraints."""

from nas.analysis.results import row_of
from nas.analysis.run_state import RunState
from nas.record import TrialRecord
from nas.search.fidelity.end import project_row

UNKNOWN_RUNTIME = 2.0  # what a rejected candidate that was not measured is told to cost


def find_told_values(
    record: TrialRecord | None, state: RunState
) -> tuple[tuple[float, ...] | None, dict[str, float]]:
    """Return a trial's values in the order of the objectives, and its constraints by name.

    A training that paused is told with what it is expected to reach: Optuna is told once.

    Args:
        record: None: nothing is known of the architecture yet.
    Returns:
        None for the values where the trial counts as failed.
    """
    if record is None or record.state == "failed":
        return None, {}
    row = row_of(record, state, state.yardstick)
    if record.state == "complete" and row.get("psnr_gain_db") is not None:
        row |= project_row(row, state)

    # A rejected one as if it had learned nothing: a limit fails, so it ranks behind.
    if record.state == "rejected":
        row |= {"psnr_gain_db": find_base_gain(state), "psnr_db": find_base_gain(state)}
        measured = {name: value for name, value in row.items() if value is not None}
        row = {"runtime_ratio": UNKNOWN_RUNTIME, "runtime_ms": 1e9, "score": 1e3} | measured

    constraints = {
        name: row[name] / limit - 1
        for name, limit in state.limits.items()
        if row.get(name) is not None
    }
    if state.can_rank and row.get("psnr_gain_db") is not None:
        constraints["psnr_gain_db"] = state.challenge.gate.min_gain_db - row["psnr_gain_db"]
    return tuple(float(row[name]) for name in state.objectives), constraints


def find_base_gain(state: RunState) -> float:
    """Return what the fixed base gains over the reference, in dB; 0 before the ladder."""
    if not state.ladder:
        return 0.0
    yardstick = state.yardstick
    assert yardstick.top_fidelity
    return state.ladder[0].base_db - yardstick.references[yardstick.top_fidelity]
