"""Where the time went: training, measuring, waiting and choosing, by how far trials came."""

from typing import Any

import pandas as pd

from nas.analysis.convergence import eligible, volumes
from nas.analysis.results import table as result_table
from nas.analysis.run_state import RunState
from nas.report.html_table import html_table
from nas.report.numbers import fixed, whole
from nas.report.panel import Part
from nas.report.words import volume_unit

TITLE = "Where the time went"
PARTS = {
    "training (s)": "train_seconds",
    "measuring (s)": "measure_seconds",
    "waiting (s)": "wait_seconds",
    "choosing (s)": "control_seconds",
}


def note(state: RunState) -> str:
    words = (
        "Seconds of the workers, summed: training with its validation, latency readings, waiting for the "
        "device, and the controller's own time for choosing. Device hours are training and measuring."
    )
    hours, volume = device_hours(state), _volume(state)
    if hours and volume is not None:
        words += (
            f" {hours:.3g} device hours in all, the ladder's among them; hypervolume {volume:.4g} "
            f"({volume_unit(state.objectives)}), {volume / hours:.4g} a device hour."
        )
    return words


def device_hours(state: RunState) -> float:
    """Hours of training and measuring, the ladder's among them; the baseline's training is the ladder's."""
    rows = result_table(state)
    trials = rows[rows["number"] != 0]
    seconds = trials["train_seconds"].sum() + rows["measure_seconds"].sum()
    return float(seconds + sum(run.train_seconds for run in state.ladder)) / 3600


def table(state: RunState) -> pd.DataFrame:
    """One row for the ladder, each fidelity that trials reached, the failed, the rejected, and the front."""
    rows = result_table(state)
    trials = rows[rows["number"] != 0]
    found: list[dict[str, Any]] = []
    if state.ladder:
        seconds = sum(run.train_seconds for run in state.ladder)
        found.append({"what": "ladder", "trainings": len(state.ladder), "training (s)": seconds})
    complete = trials[trials["state"] == "complete"]
    for steps, group in complete.groupby(complete["fidelity"].astype(int)):
        found.append(_row(f"trials that reached {steps} steps", group))
    for end in ("failed", "rejected"):
        if len(group := trials[trials["state"] == end]):
            found.append(_row(end, group))
    found.append(_row("members of the front, of these", trials[trials["on_front"] == "yes"]))
    return pd.DataFrame(found, columns=["what", "trainings", *PARTS])


def draw(table: pd.DataFrame, state: RunState) -> tuple[Part, ...]:
    formats = {name: lambda value: fixed(value, 1) for name in PARTS}
    return (html_table(table, {"trainings": whole, **formats}, label=TITLE),)


def _row(what: str, group: pd.DataFrame) -> dict[str, Any]:
    sums = {name: float(group[column].sum()) for name, column in PARTS.items()}
    return {"what": what, "trainings": int(group["train_seconds"].notna().sum()), **sums}


def _volume(state: RunState) -> float | None:
    frame = result_table(state)
    if frame.empty:
        return None
    volume = volumes(frame, eligible(frame), state)[-1]
    return None if pd.isna(volume) else float(volume)
