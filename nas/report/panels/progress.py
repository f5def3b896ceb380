"""Progress: the best score and the dominated volume against the number of trials."""

import html

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from nas.analysis.convergence import eligible, reference, volumes
from nas.analysis.results import table as result_table
from nas.analysis.run_state import RunState
from nas.report.figures import ACCENT, WARM, figure
from nas.report.panel import Part
from nas.report.words import column_name, score_label, volume_unit

TITLE = "Progress"


def note(state: RunState) -> str:
    if state.can_rank:
        best = "Best score: the lowest of the rows that pass the PSNR gate and the limits."
    else:
        best = "Lowest score, PSNR not considered: the proxy cannot rank, so this is no best score."
    point = reference(state, result_table(state))
    if point is None:
        volume = "The hypervolume needs the baseline's row, which is not there yet."
    else:
        place = ", ".join(f"{column_name(name)} {_in_words(value)}" for name, value in point.items())
        volume = (
            f"Hypervolume, in {volume_unit(state.objectives)}: what the front dominates up to the reference "
            f"point ({place}), which is fixed for this run: the bicubic base alone for PSNR, twice the "
            "baseline's value for what is minimised. "
            "Rows beyond it, infeasible ones and ones of lower fidelity add nothing."
        )
    return f"{best} {score_label(state)}\n{volume}"


def table(state: RunState) -> pd.DataFrame:
    """One row a trial that counts (complete or failed; the baseline is 0): both figures up to there."""
    frame = result_table(state)
    frame = frame[frame["state"] != "rejected"]
    complete = (frame["state"] == "complete").to_numpy()
    scored = complete & (frame["feasible"] == "yes").to_numpy() if state.can_rank else complete
    scores = frame["score"].astype(float).where(scored, np.inf).cummin()
    trials = (frame["number"] != 0).cumsum()
    return pd.DataFrame(
        {
            "trials": trials,
            "number": frame["number"],
            "best_score": scores.where(np.isfinite(scores)),
            "hypervolume": volumes(frame, eligible(frame), state),
        }
    )


def draw(table: pd.DataFrame, state: RunState) -> tuple[Part, ...]:
    if table["best_score"].isna().all():
        return (f"<p class='empty'>{html.escape('No trial with a score that counts yet.')}</p>",)
    label = "best score" if state.can_rank else "lowest score, PSNR not considered"
    parts = [_steps(table, "best_score", label, "score", WARM)]
    if table["hypervolume"].notna().any():
        shares = {"dB" if name.startswith("psnr") else "shares of the baseline" for name in state.objectives}
        unit = " × ".join(sorted(shares))
        parts.append(_steps(table, "hypervolume", f"hypervolume ({unit})", "hypervolume", ACCENT))
    return tuple(parts)


def _in_words(value: float) -> str:
    """A value of any objective: counts in full, with commas, others to four digits."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}".replace("-", "−")


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
