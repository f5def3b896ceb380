"""Progress: the best score and the dominated volume against the number of trials."""

import html

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from nas.pareto import front, hypervolume
from nas.record import GOALS
from nas.report.figures import ACCENT, WARM, figure
from nas.report.panel import Part
from nas.report.words import column_name, score_label
from nas.results import RunState, costs
from nas.results import table as result_table

TITLE = "Progress"
WORST = 2.0  # the reference of a minimised column, in units of the baseline's value


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
    if any(pd.isna(value) for value in point.values()):
        return None
    return {name: float(value) for name, value in point.items()}


def note(state: RunState) -> str:
    if state.can_rank:
        best = "Best score: the lowest of the rows that pass the PSNR gate and the limits."
    else:
        best = "Lowest score, PSNR not considered: the proxy cannot rank, so this is no best score."
    point = reference(state, result_table(state))
    if point is None:
        volume = "The hypervolume needs the baseline's row, which is not there yet."
    else:
        place = ", ".join(f"{column_name(name)} {value:.4g}" for name, value in point.items())
        volume = (
            f"Hypervolume: what the front dominates up to the reference point ({place}), which is fixed for "
            "this run: the bicubic base alone for PSNR, twice the baseline's value for what is minimised. "
            "Rows beyond it, infeasible ones and ones of lower fidelity add nothing."
        )
    return f"{best} {score_label(state)}\n{volume}"


def table(state: RunState) -> pd.DataFrame:
    """One row a trial that counts (complete or failed; the baseline is 0): both figures up to there."""
    frame = result_table(state)
    frame = frame[frame["state"] != "rejected"]
    complete = (frame["state"] == "complete").to_numpy()
    eligible = complete & (frame["feasible"] != "no").to_numpy()
    scored = complete & (frame["feasible"] == "yes").to_numpy() if state.can_rank else complete
    scores = frame["score"].astype(float).where(scored, np.inf).cummin()
    trials = (frame["number"] != 0).cumsum()
    return pd.DataFrame(
        {
            "trials": trials,
            "number": frame["number"],
            "best_score": scores.where(np.isfinite(scores)),
            "hypervolume": _volumes(frame, eligible, state),
        }
    )


def draw(table: pd.DataFrame, state: RunState) -> tuple[Part, ...]:
    if table["best_score"].isna().all():
        return (f"<p class='empty'>{html.escape('No trial with a score that counts yet.')}</p>",)
    label = "best score" if state.can_rank else "lowest score, PSNR not considered"
    parts = [_steps(table, "best_score", label, "score", WARM)]
    if table["hypervolume"].notna().any():
        parts.append(_steps(table, "hypervolume", "hypervolume", "hypervolume", ACCENT))
    return tuple(parts)


def _steps(table: pd.DataFrame, column: str, title: str, unit: str, colour: str) -> go.Figure:
    rows = table[table[column].notna()]
    trace = go.Scatter(
        x=rows["trials"].tolist(),
        y=rows[column].tolist(),
        mode="lines+markers",
        line={"shape": "hv", "color": colour, "width": 2},
        marker={"size": 4},
        showlegend=False,
        hovertemplate="after %{x} trials: %{y:.4f}<extra></extra>",
    )
    heading = {"text": title, "font": {"size": 13}, "x": 0.01, "xanchor": "left", "y": 0.97}
    return figure([trace], x="trials", y=unit, height=300, title=heading)


def _volumes(frame: pd.DataFrame, eligible: np.ndarray, state: RunState) -> np.ndarray:
    """The hypervolume after each row: (N,); NaN without a reference point."""
    point = reference(state, frame)
    if point is None:
        return np.full(len(frame), np.nan)
    signs = [-1.0 if GOALS[name].direction == "maximize" else 1.0 for name in state.objectives]
    corner = np.array(list(point.values())) * np.array(signs)
    values = costs(frame, state.objectives)
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
