"""Progress: the best score and the dominated volume against the number of trials."""

import html

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from nas.analysis.columns import BY_NAME, GOALS
from nas.analysis.convergence import eligible, reference, volumes
from nas.analysis.results import table as result_table
from nas.analysis.run_state import RunState
from nas.report.figures import ACCENT, WARM, figure
from nas.report.panel import Part
from nas.report.words import column_name, score_label, volume_unit

TITLE = "Progress"


def note(state: RunState) -> str:
    """Say which rows the best score is of, and what the hypervolume is measured to."""
    if state.can_rank:
        best = "Best score: the lowest of the rows that pass the PSNR gate and the limits."
    else:
        best = "Lowest score, PSNR not considered: the proxy cannot rank, so this is no best score."

    # A hypervolume says nothing without the point to which it is measured.
    point = reference(state, result_table(state))
    if point is None:
        volume = "The hypervolume needs the baseline's row, which is not there yet."
    else:
        place = ", ".join(
            f"{column_name(name)} {_write_value(value)}" for name, value in point.items()
        )
        volume = (
            f"Hypervolume, in {volume_unit(state.objectives)}: what the front dominates up to the "
            f"reference point ({place}), which is fixed for this run: the bicubic base alone for "
            "PSNR, twice the baseline's value for what is minimised. "
            "Rows beyond it, infeasible ones and ones of lower fidelity add nothing."
        )

    return f"{best} {score_label(state)}\n{volume}"


def table(state: RunState) -> pd.DataFrame:
    """Return one row a trial that counts, with both figures up to there.

    Complete and failed trials count; the baseline is trial 0.
    """
    frame = result_table(state)
    frame = frame[frame["state"] != "rejected"]

    # Without a gate that is believed, the lowest score of all is shown, under another title.
    is_scored = (frame["state"] == "complete").to_numpy()
    if state.can_rank:
        is_scored = is_scored & (frame["feasible"] == "yes").to_numpy()
    best_scores = frame["score"].astype(float).where(is_scored, np.inf).cummin()

    return pd.DataFrame(
        {
            "trials": (frame["number"] != 0).cumsum(),
            "number": frame["number"],
            "best_score": best_scores.where(np.isfinite(best_scores)),
            "hypervolume": volumes(frame, eligible(frame), state),
        }
    )


def draw(table: pd.DataFrame, state: RunState) -> tuple[Part, ...]:
    """Draw the best score, and the hypervolume where it is known."""
    if table["best_score"].isna().all():
        return (f"<p class='empty'>{html.escape('No trial with a score that counts yet.')}</p>",)

    label = "best score" if state.can_rank else "lowest score, PSNR not considered"
    parts = [_draw_steps(table, "best_score", label, "score", WARM)]
    if table["hypervolume"].notna().any():
        title = f"hypervolume ({_write_volume_unit(state.objectives)})"
        parts.append(_draw_steps(table, "hypervolume", title, "hypervolume", ACCENT))
    return tuple(parts)


def _write_volume_unit(objectives: tuple[str, ...]) -> str:
    """Return the unit of a hypervolume in a few words, for a title."""
    # A column that is minimised counts as a share of the baseline's value.
    units = {
        BY_NAME[name].unit if GOALS[name].direction == "maximize" else "shares of the baseline"
        for name in objectives
    }
    return " × ".join(sorted(units))


def _write_value(value: float) -> str:
    """Return a value of any objective: counts in full, others to four digits."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}".replace("-", "−")


def _draw_steps(table: pd.DataFrame, column: str, title: str, unit: str, colour: str) -> go.Figure:
    """Draw a column over the trials as a step line: it holds until a trial changes it."""
    # Nothing is drawn before the first value: zero would be one.
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
