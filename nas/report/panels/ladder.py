"""The ladder: SPAN at four sizes under the proxy, and whether that lets the proxy decide."""

import html
import statistics
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from nas.analysis.ladder import MIN_SPREAD_GATES, MIN_SPREAD_SEEDS
from nas.analysis.lasting import MIN_GAIN_SEEDS
from nas.analysis.run_state import RunState
from nas.report.figures import ACCENT, MUTED, WARM, figure
from nas.report.html_table import Formatter, html_table
from nas.report.numbers import fixed, whole
from nas.report.panel import Part
from nas.report.words import protocol, verdict_words

TITLE = "Can the proxy rank?"
MEAN, DEVIATION, BASE = "mean (dB)", "deviation (dB)", "base alone (dB)"
STEPS, SECONDS = "steps", "seconds a run"
READING = "PSNR (dB)"
NUM_SYMBOLS = 8  # of plotly's, before seeds share one


def note(state: RunState) -> str:
    """Say what the ladder is, when it passes, and how PSNR was made."""
    return (
        "The ladder trains SPAN at four sizes (channels x blocks) with the proxy. It passes when "
        f"they come out in order for every seed and spread over at least {MIN_SPREAD_SEEDS:g} "
        f"seed deviations and {MIN_SPREAD_GATES:g} gate margins, and when they stay so in longer "
        f"trainings.\n{protocol(state)}"
    )


def table(state: RunState) -> pd.DataFrame:
    """Return one row a rung, small to large: each seed, mean, deviation, base alone, cost."""
    # A column for each seed: order has to hold for every one of them.
    seeds = _list_seeds(state)
    longer = _read_longer(state)
    rows: list[dict[str, Any]] = []
    for rung in state.rungs if state.ladder else ():
        runs = {run.seed: run for run in state.ladder if run.rung == rung}
        psnrs_db = [run.psnr_db for run in runs.values()]

        # A rung may lack some seeds, or all of them, while the ladder still runs.
        row: dict[str, Any] = {"rung": rung}
        row |= {_name_seed(seed): runs[seed].psnr_db if seed in runs else None for seed in seeds}
        row[MEAN] = statistics.fmean(psnrs_db) if psnrs_db else None
        row[DEVIATION] = statistics.stdev(psnrs_db) if len(psnrs_db) > 1 else None
        if longer:
            row[_name_longer(state)] = longer.get(rung)
        row[BASE] = next((run.base_db for run in runs.values()), None)
        row[STEPS] = max((run.fidelity for run in runs.values()), default=None)
        seconds = [run.train_seconds for run in runs.values()]
        row[SECONDS] = statistics.fmean(seconds) if seconds else None
        rows.append(row)

    frame = pd.DataFrame(rows)
    return frame.astype({name: float for name in frame.columns if name != "rung"})


def draw(table: pd.DataFrame, state: RunState) -> tuple[Part, ...]:
    """Draw the verdict, the table, and a line for each seed and for their mean."""
    # The verdict comes first: it says whether any score below may be believed.
    verdict = state.verdict
    look = "unknown" if verdict is None else "passes" if verdict.passes else "fails"
    words = f"<p class='verdict {look}'>{html.escape(verdict_words(state))}</p>"
    if table.empty:
        return (words,)

    seeds = _list_seeds(state)
    traces = [
        _draw_line(
            table,
            _name_seed(seed),
            f"seed {seed}",
            line={"width": 1, "color": MUTED},
            marker={"size": 6, "symbol": place % NUM_SYMBOLS},
        )
        for place, seed in enumerate(seeds)
    ]
    mean_line = {"width": 3, "color": ACCENT}
    traces.append(_draw_line(table, MEAN, "mean", line=mean_line, marker={"size": 8}))
    longer_head = _name_longer(state)
    if longer_head in table:
        longer_line = {"width": 2, "color": WARM}
        name = longer_head.removesuffix(" (dB)")
        traces.append(_draw_line(table, longer_head, name, line=longer_line, marker={"size": 8}))
    drawing = figure(
        traces,
        x="SPAN, channels x blocks",
        y="PSNR (dB)",
        height=320,
        xaxis={"type": "category"},  # else plotly reads "12x1" as a number where it can
    )

    formats: dict[str, Formatter] = {
        head: lambda value: fixed(value, 3)
        for head in (*map(_name_seed, seeds), MEAN, DEVIATION, BASE, longer_head)
    }
    formats |= {STEPS: lambda value: fixed(value, 0), SECONDS: lambda value: fixed(value, 1)}
    return words, html_table(table, formats, label=TITLE), drawing, *_draw_readings(state)


def _draw_readings(state: RunState) -> tuple[Part, ...]:
    """Draw the readings by which it is known how far the data last; nothing without any."""
    lasting = state.verdict.lasting if state.verdict else None
    if lasting is None:
        return ()
    frame = pd.DataFrame(lasting.readings, columns=[STEPS, READING])
    higher = "higher"  # with one seed the noise is not known
    if lasting.noise_db:
        higher = (
            f"higher by more than {lasting.noise_db:.3f} dB, {MIN_GAIN_SEEDS:g} seed deviations"
        )
    words = (
        f"{lasting.size} along a training of {lasting.longest:,} steps; at "
        f"{state.yardstick.top_fidelity:,} the mean of the ladder's own trainings, which end there. "
        f"After the marked reading none is {higher}."
    )
    formats: dict[str, Formatter] = {READING: lambda value: fixed(value, 3), STEPS: whole}
    marks = dict.fromkeys(frame.index[frame[STEPS] == lasting.gains_until], "baseline")
    table = html_table(frame, formats, marks=marks, label="How far the data last")
    return f"<p>{html.escape(words)}</p>", table


def _read_longer(state: RunState) -> dict[str, float]:
    """Return the PSNR of longer trainings, by size; empty where there are none."""
    runs = state.longer_ladder if state.longer_plan.steps else ()
    return {run.rung: run.psnr_db for run in runs}


def _name_longer(state: RunState) -> str:
    return f"after {state.longer_plan.steps:,} steps (dB)"


def _draw_line(table: pd.DataFrame, column: str, name: str, **look: Any) -> go.Scatter:
    """Draw a column of the table over the rungs; a missing value is a gap."""
    values = [None if pd.isna(value) else float(value) for value in table[column]]
    return go.Scatter(x=table["rung"].tolist(), y=values, mode="lines+markers", name=name, **look)


def _list_seeds(state: RunState) -> list[int]:
    return sorted({run.seed for run in state.ladder})


def _name_seed(seed: int) -> str:
    return f"seed {seed} (dB)"
