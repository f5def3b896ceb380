"""What a run's paused trainings are expected to reach at their end."""

from collections.abc import Mapping
from typing import Any

from nas.analysis.run_state import RunState
from nas.search.fidelity.projection import Projection, projections


def project_ends(state: RunState) -> dict[int, Projection]:
    """Return a projection from each rung to the end, by the ladder's trainings and the trials' own.

    Gains are over the reference at the same step. Without rungs there is none.
    """
    yardstick = state.yardstick
    if not yardstick.top_fidelity:
        return {}

    curves = [run.curve for run in state.ladder]
    curves += [record.quality.curve for record in state.records if record.number and record.quality]
    references = yardstick.references
    gains = [
        {steps: psnr - references[steps] for steps, psnr in curve if steps in references}
        for curve in curves
    ]
    return projections(gains, yardstick.top_fidelity)


def project_row(row: Mapping[str, Any], state: RunState) -> dict[str, float]:
    """Return the PSNR columns of a row as they are expected at the end of its training.

    An empty dictionary says that it has ended.
    """
    top = state.yardstick.top_fidelity
    if row["fidelity"] == top or top is None:
        return {}
    gain_db, _ = project_ends(state)[row["fidelity"]].at(row["psnr_gain_db"])
    return {"psnr_gain_db": gain_db, "psnr_db": gain_db + state.yardstick.references[top]}
