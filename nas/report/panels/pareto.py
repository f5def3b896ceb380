"""The Pareto scatter: PSNR gain against runtime ratio, or the search's first two objectives."""

import html
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from nas.analysis.columns import BY_NAME, GOALS
from nas.analysis.results import table as result_table
from nas.analysis.run_state import RunState
from nas.report.figures import ACCENT, MUTED, WARM, figure
from nas.report.numbers import fixed, giga, missing, ratio, signed, whole
from nas.report.panel import Part
from nas.report.words import column_name, describe, gate_words, protocol, score_label, taps_in_words

TITLE = "Pareto front"
MARKERS: dict[str, dict[str, Any]] = {  # by role, in the order in which they are drawn
    "infeasible": {"symbol": "x-thin", "size": 7, "line": {"width": 1.3, "color": MUTED}},
    "lower fidelity": {"symbol": "circle-open", "size": 7, "color": MUTED},
    "trial": {"symbol": "circle", "size": 8, "opacity": 0.75},
    "front": {"symbol": "circle", "size": 13, "line": {"width": 2, "color": ACCENT}},
    "baseline": {"symbol": "diamond", "size": 14, "line": {"width": 2, "color": WARM}},
}

# Of the parameters; each colour can be seen on white and on black.
COLOURS = [[0.0, "#8a63d2"], [0.5, "#2aa198"], [1.0, "#e9b949"]]
COLOUR_BAR = {
    "orientation": "h",
    "title": {"text": BY_NAME["params"].words, "side": "top"},
    "thickness": 10,
    "len": 0.6,
    "x": 0.5,
    "y": -0.2,
    "yanchor": "top",
    "outlinewidth": 0,
    "nticks": 4,
}


def axes(objectives: tuple[str, ...]) -> tuple[str, str]:
    """Return the columns of x and y: the first two objectives, a maximised one upward.

    A single objective stands beside a cost that it is not.

    Example:
        >>> axes(("psnr_gain_db", "runtime_ratio"))
        ('runtime_ratio', 'psnr_gain_db')
    """
    # A scatter needs a second axis, if there is one objective alone.
    spare = [name for name in ("runtime_ratio", "params", "flops") if name not in objectives]
    first, second = (*objectives, *spare)[:2]
    return (second, first) if _is_maximised(first) else (first, second)


def note(state: RunState) -> str:
    """Say which way is better, whose front is drawn, and how PSNR and score were made."""
    x, y = axes(state.objectives)
    front = "The step line joins the front: no row is better in every objective at once."
    if len(state.objectives) > 2:
        names = ", ".join(column_name(name) for name in state.objectives)
        front = f"The front is that of {names}; two of them are drawn, so members may lie inside."

    # A newcomer is told where good is, whatever the two columns are.
    better_y = "upward" if _is_maximised(y) else "downward"
    better_x = "to the right" if _is_maximised(x) else "to the left"
    best = f"{column_name(y)} better {better_y} and {column_name(x)} better {better_x}"
    is_psnr_drawn = any(BY_NAME[name].noise == "seeds" for name in (x, y))
    psnr = f"\n{protocol(state)}" if is_psnr_drawn else ""
    return f"{best}. {front}{psnr}\n{score_label(state)}"


def table(state: RunState) -> pd.DataFrame:
    """Return one row a complete trial whose two values were measured.

    To the run's columns come x and y, the architecture and its taps in words, and `role`, which
    says how the trial is marked.
    """
    x, y = axes(state.objectives)
    frame = result_table(state)

    # Rejected trials were not trained, and failed ones may lack a value.
    frame = frame[(frame["state"] == "complete") & frame[x].notna() & frame[y].notna()]
    specs = {record.number: record.spec for record in state.records}

    # The first role that fits a row is its own.
    top = frame["fidelity"].max()
    roles = np.select(
        [
            frame["number"] == 0,
            frame["on_front"] == "yes",
            frame["feasible"] == "no",
            (frame["fidelity"] < top).fillna(False).astype(bool),
        ],
        ["baseline", "front", "infeasible", "lower fidelity"],
        "trial",
    )

    return frame.assign(
        x=frame[x],
        y=frame[y],
        role=roles,
        architecture=[describe(specs[number]) for number in frame["number"]],
        taps=[taps_in_words(specs[number]) for number in frame["number"]],
    )


def draw(table: pd.DataFrame, state: RunState) -> tuple[Part, ...]:
    """Draw the trials by role, the front's border and the gate; colour says the parameters."""
    if table.empty:
        words = "No complete trial has both values yet, so there is nothing to draw."
        return (f"<p class='empty'>{words}</p>",)

    x, y = axes(state.objectives)

    # Roles are drawn in their order, so that the front lies on top of the other trials.
    traces = [*_draw_border(table, state), *(_draw_points(table, role, x) for role in MARKERS)]
    drawing = figure(
        [trace for trace in traces if len(trace.x)],
        x=column_name(x),
        y=column_name(y),
        height=540,
        margin={"b": 110},
        coloraxis={"colorscale": COLOURS, "colorbar": COLOUR_BAR},
        hovermode="closest",
    )
    _add_gate_line(drawing, state, x, y)
    return (drawing,)


def _draw_points(table: pd.DataFrame, role: str, x: str) -> go.Scatter:
    """Draw the trials of one role; members of the front with the interval of their runtime."""
    rows = table[table["role"] == role]

    # Colour says the parameters of what competes; infeasible and lower-fidelity rows are grey.
    marker = dict(MARKERS[role])
    if role in ("trial", "front", "baseline"):
        sizes = [None if missing(value) else int(value) for value in rows["params"]]
        marker |= {"color": sizes, "coloraxis": "coloraxis"}

    # Intervals of all trials would hide the drawing; they matter where two members are close.
    errors = None
    if x == "runtime_ratio" and role in ("front", "baseline"):
        errors = {
            "type": "data",
            "array": rows["runtime_ci"].tolist(),
            "thickness": 1,
            "width": 3,
            "color": MUTED,
        }

    return go.Scatter(
        x=rows["x"].tolist(),
        y=rows["y"].tolist(),
        mode="markers",
        name=role,
        marker=marker,
        error_x=errors,
        hovertext=[_write_hover(row) for row in rows.to_dict("records")],
        hoverinfo="text",
    )


def _draw_border(table: pd.DataFrame, state: RunState) -> list[go.Scatter]:
    """Draw the border of what the front dominates, where the two axes are all of its objectives."""
    if len(state.objectives) != 2:
        return []
    x, _ = axes(state.objectives)

    # Steps, as nothing between two members is known to be reached.
    members = table[table["on_front"] == "yes"].sort_values(["x", "y"])
    line = {"shape": "vh" if _is_maximised(x) else "hv", "color": ACCENT, "width": 1.5}
    return [
        go.Scatter(
            x=members["x"].tolist(),
            y=members["y"].tolist(),
            mode="lines",
            line=line,
            hoverinfo="skip",
            showlegend=False,
            name="front line",
        )
    ]


def _add_gate_line(drawing: go.Figure, state: RunState, x: str, y: str) -> None:
    """Add the PSNR gate to a drawing of gains; dotted where it is not believed."""
    if "psnr_gain_db" not in (x, y):
        return
    colour, dash = (WARM, "solid") if state.can_rank else (MUTED, "dot")
    look = {
        "line": {"color": colour, "dash": dash, "width": 1.5},
        "annotation": {"text": gate_words(state), "font": {"color": colour, "size": 12}},
    }

    # The gate is a line across whichever axis holds the gain.
    gate_db = state.challenge.gate.min_gain_db
    if y == "psnr_gain_db":
        drawing.add_hline(y=gate_db, annotation_position="bottom right", **look)
    else:
        drawing.add_vline(x=gate_db, annotation_position="top left", **look)


def _write_hover(row: dict[Any, Any]) -> str:
    """Return all that is known of a trial, as HTML lines; what others wrote is escaped."""
    name = "baseline" if row["number"] == 0 else f"trial {row['number']}"
    runtime_ratio = ratio(row["runtime_ratio"], row["runtime_ci"])
    gain = signed(row["psnr_gain_db"], 3, " dB")

    # What is needed to pick an architecture, from what it is to what it scores.
    lines = [
        f"<b>{name}</b> {row['arch_id']}",
        *_fold_text(html.escape(row["architecture"])),
        *_fold_text("taps: " + html.escape(row["taps"])),
        f"{whole(row['params'])} parameters, {giga(row['flops'])} FLOPs",
        f"{fixed(row['runtime_ms'], 2, ' ms')}, ratio {runtime_ratio}",
        f"PSNR {fixed(row['psnr_db'], 3, ' dB')}, gain {gain}",
        f"score {fixed(row['score'], 3)}, feasible: {row['feasible']}",
    ]
    if not missing(row["fidelity"]):
        lines.append(f"{whole(row['fidelity'])} training steps")
    return "<br>".join(lines)


def _is_maximised(column: str) -> bool:
    return GOALS[column].direction == "maximize"


def _fold_text(text: str, width: int = 46) -> list[str]:
    """Return a text in lines that a phone can show, broken at spaces."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return lines
