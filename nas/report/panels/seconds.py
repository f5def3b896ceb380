"""Where the time went: training, measuring, waiting and choosing, by how far trials came."""

from typing import Any

import pandas as pd

from nas.analysis.columns import BY_NAME
from nas.analysis.convergence import eligible, volumes
from nas.analysis.results import table as result_table
from nas.analysis.run_state import RunState
from nas.report.column_table import make_formats
from nas.report.html_table import html_table
from nas.report.numbers import whole
from nas.report.panel import Part
from nas.report.words import volume_unit

TITLE = "Where the time went"
SPENT = ("train_seconds", "measure_seconds", "wait_seconds", "control_seconds")
HEADS = {name: BY_NAME[name].heading for name in SPENT}


def note(state: RunState) -> str:
    """Say what each kind of time is, and what a device hour has brought."""
    words = (
        "Seconds of the workers, summed: training with its validation, latency readings, waiting "
        "for the device, and the controller's own time for choosing. Device hours are training "
        "and measuring."
    )

    # Before the baseline is measured there is no hypervolume to divide.
    hours, volume = sum_device_hours(state), _measure_volume(state)
    if hours and volume is not None:
        words += (
            f" {hours:.3g} device hours in all, the ladder's among them; hypervolume {volume:.4g} "
            f"({volume_unit(state.objectives)}), {volume / hours:.4g} a device hour."
        )

    return words


def sum_device_hours(state: RunState) -> float:
    """Return the hours of training and measuring, with the ladder's."""
    rows = result_table(state)
    trials = rows[rows["number"] != 0]  # the baseline's training is one of the ladder's
    seconds = trials["train_seconds"].sum() + rows["measure_seconds"].sum()
    return float(seconds + sum(run.train_seconds for run in state.ladder)) / 3600


def table(state: RunState) -> pd.DataFrame:
    """Return a row for the ladder, each fidelity, failed and rejected trials, and the front."""
    rows = result_table(state)
    trials = rows[rows["number"] != 0]
    lines: list[dict[str, Any]] = []

    # The ladder is trained before any trial, and belongs to what a search costs.
    if state.ladder:
        seconds = sum(run.train_seconds for run in state.ladder)
        line = {"what": "ladder", "trainings": len(state.ladder), HEADS["train_seconds"]: seconds}
        lines.append(line)

    complete = trials[trials["state"] == "complete"]
    for steps, group in complete.groupby(complete["fidelity"].astype(int)):
        lines.append(_sum_group(f"trials that reached {steps} steps", group))

    # Those that came to nothing took time as well.
    for end in ("failed", "rejected"):
        if len(group := trials[trials["state"] == end]):
            lines.append(_sum_group(end, group))

    # Members are among the complete ones above, so this line is no further part of the sum.
    members = trials[trials["on_front"] == "yes"]
    lines.append(_sum_group("members of the front, of these", members))
    return pd.DataFrame(lines, columns=["what", "trainings", *HEADS.values()])


def draw(table: pd.DataFrame, state: RunState) -> tuple[Part, ...]:
    """Draw the table."""
    return (html_table(table, {"trainings": whole} | make_formats(table), label=TITLE),)


def _sum_group(what: str, group: pd.DataFrame) -> dict[str, Any]:
    sums = {head: float(group[name].sum()) for name, head in HEADS.items()}
    return {"what": what, "trainings": int(group["train_seconds"].notna().sum()), **sums}


def _measure_volume(state: RunState) -> float | None:
    """Return the hypervolume at the end of the run; None where it is not known."""
    frame = result_table(state)
    if frame.empty:
        return None
    volume = volumes(frame, eligible(frame), state)[-1]
    return None if pd.isna(volume) else float(volume)
