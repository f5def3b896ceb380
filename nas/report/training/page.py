"""The page of a training: PSNR, losses, learning rate, and what the network makes of some crops."""

import base64
import html
from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from nas.analysis.training import Reading, TrainingState
from nas.report.figures import ACCENT, MUTED, WARM, figure
from nas.report.html_page import Section, write_page
from nas.report.html_table import html_table
from nas.report.panel import Part
from nas.report.panels.settings import list_settings
from nas.report.training.words import PROTOCOL, write_lead

HEIGHT = 320  # of a figure, in pixels
MAX_SAMPLES = 6  # validations whose crops are shown
COLOURS = (ACCENT, WARM, "#2e9e6b", "#9a5fd0", "#c0506a", MUTED)
EMPTY = "<p class='empty'>Nothing yet.</p>"


def render_training(state: TrainingState) -> str:
    """Return a training as one HTML page, also before its first validation."""
    return write_page(
        name=state.name, kind="training", lead=write_lead(state), sections=_list_sections(state)
    )


def _list_sections(state: TrainingState) -> list[Section]:
    return [
        Section(title="PSNR", note=PROTOCOL, parts=_draw_psnr(state)),
        Section(
            title="Losses",
            note="Means since the validation before, each without its weight in the sum.",
            parts=_draw_losses(state),
        ),
        Section(
            title="Learning rate",
            note="As a share of the peak of its stage.",
            parts=_draw_rate(state),
        ),
        Section(
            title="Samples",
            note="The same crops of val images, as they should be, by the bicubic base, and by the "
            "network at some validations.",
            parts=_draw_samples(state),
        ),
        Section(title="Stages", note="As they were planned.", parts=_draw_stages(state)),
        Section(
            title="Settings and notices",
            note="What was trained, how, and what there was to say on the way.",
            parts=_draw_settings(state),
        ),
    ]


def _draw_psnr(state: TrainingState) -> Sequence[Part]:
    """Draw PSNR against steps and against hours."""
    if not state.validated:
        return (EMPTY,)
    values = [reading.psnr_db for reading in state.validated]
    hours = [reading.seconds / 3600 for reading in state.validated]
    by_step = [_draw_line(state.validated, values, "PSNR on val", ACCENT)]
    by_hour = [_trace(hours, values, "PSNR on val", ACCENT, "%{x:.2f} h: %{y:.3f} dB")]
    return (
        figure(by_step, x="steps", y="PSNR on val (dB)", height=HEIGHT, shapes=_mark_stages(state)),
        figure(by_hour, x="hours", y="PSNR on val (dB)", height=HEIGHT),
    )


def _draw_losses(state: TrainingState) -> Sequence[Part]:
    """Draw each loss; on a logarithmic axis, as they differ by orders of magnitude."""
    names = list(dict.fromkeys(name for one in state.readings for name in one.losses))
    if not names:
        return (EMPTY,)
    traces = []
    for place, name in enumerate(names):
        readings = [one for one in state.readings if one.losses.get(name, 0) > 0]
        values = [one.losses[name] for one in readings]
        traces.append(_draw_line(readings, values, name, COLOURS[place % len(COLOURS)]))
    return (
        figure(
            traces,
            x="steps",
            y="loss",
            height=HEIGHT,
            yaxis={"type": "log"},
            shapes=_mark_stages(state),
        ),
    )


def _draw_rate(state: TrainingState) -> Sequence[Part]:
    if not state.readings:
        return (EMPTY,)
    rates = [one.rate for one in state.readings]
    trace = _draw_line(state.readings, rates, "rate", WARM)
    return (
        figure([trace], x="steps", y="share of the peak", height=240, shapes=_mark_stages(state)),
    )


def _draw_samples(state: TrainingState) -> Sequence[Part]:
    """Draw the crops of the originals and of some validations, a row each."""
    originals = [name for name in state.samples if not name.startswith("step ")]
    steps = [name for name in state.samples if name.startswith("step ")]
    if len(steps) > MAX_SAMPLES:
        places = [round(i * (len(steps) - 1) / (MAX_SAMPLES - 1)) for i in range(MAX_SAMPLES)]
        steps = [steps[place] for place in places]
    if not state.samples:
        return (EMPTY,)

    rows = []
    for name in [*originals, *steps]:
        data = base64.b64encode(state.samples[name]).decode()
        caption = html.escape(name)
        rows.append(
            f'<figure><img src="data:image/png;base64,{data}" alt="crops: {caption}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    return (f'<div class="samples">{"".join(rows)}</div>',)


def _draw_stages(state: TrainingState) -> Sequence[Part]:
    if not state.stages:
        return (EMPTY,)
    frame = pd.DataFrame([*state.stages.items()], columns=["stage", "steps"])
    return (html_table(frame, {"steps": lambda value: f"{value:,}"}, label="Stages"),)


def _draw_settings(state: TrainingState) -> Sequence[Part]:
    settings = pd.DataFrame(list_settings(state.settings), columns=["setting", "value"])
    items = "".join(f"<li>{html.escape(notice)}</li>" for notice in state.notices)
    notices = f"<ul class='notices'>{items}</ul>" if items else ""
    return (notices, html_table(settings, label="Settings"))


def _mark_stages(state: TrainingState) -> list[dict[str, Any]]:
    """Return a dotted line at each border of two stages."""
    borders, before = [], 0
    for steps in [*state.stages.values()][:-1]:
        before += steps
        borders.append(before)
    line = {"color": MUTED, "width": 1, "dash": "dot"}
    return [
        {"type": "line", "xref": "x", "yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": 1,
         "line": line}
        for x in borders
    ]  # fmt: skip


def _draw_line(
    readings: Sequence[Reading], values: Sequence[float | None], name: str, colour: str
) -> go.Scatter:
    steps = [reading.step for reading in readings]
    return _trace(steps, values, name, colour, "step %{x:,}: %{y:.4g}")


def _trace(
    x: Sequence[float], y: Sequence[float | None], name: str, colour: str, hover: str
) -> go.Scatter:
    return go.Scatter(
        x=list(x),
        y=list(y),
        name=name,
        mode="lines+markers",
        line={"color": colour, "width": 2},
        marker={"size": 4},
        hovertemplate=f"{hover}<extra>{html.escape(name)}</extra>",
    )
