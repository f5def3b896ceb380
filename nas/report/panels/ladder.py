"""The ladder: SPAN at four sizes under the proxy, and whether that lets the proxy decide anything."""

import html
import statistics
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from nas.analysis.ladder import MIN_SPREAD_GATES, MIN_SPREAD_SEEDS
from nas.analysis.run_state import RunState
from nas.report.figures import ACCENT, MUTED, figure
from nas.report.html_table import html_table
from nas.report.numbers import fixed
from nas.report.panel import Part
from nas.report.words import protocol, verdict_words

TITLE = "Can the proxy rank?"


def note(state: RunState) -> str:
    return (
        "The ladder trains SPAN at four sizes (channels x blocks) with the proxy. It passes when they come "
        f"out in order for every seed and spread over at least {MIN_SPREAD_SEEDS:g} seed deviations and "
        f"{MIN_SPREAD_GATES:g} gate margins.\n{protocol(state)}"
    )


def table(state: RunState) -> pd.DataFrame:
    """One row a rung, small to large: each seed, their mean and deviation, the base alone, the cost."""
    seeds = sorted({run.seed for run in state.ladder})
    rows: list[dict[str, Any]] = []
    for rung in state.rungs if state.ladder else ():
        runs = {run.seed: run for run in state.ladder if run.rung == rung}
        results = [run.psnr_db for run in runs.values()]
        row: dict[str, Any] = {"rung": rung}
        row |= {f"seed {seed} (dB)": runs[seed].psnr_db if seed in runs else None for seed in seeds}
        row["mean (dB)"] = statistics.fmean(results) if results else None
        row["deviation (dB)"] = statistics.stdev(results) if len(results) > 1 else None
        row["base alone (dB)"] = next((run.base_db for run in runs.values()), None)
        row["steps"] = max((run.fidelity for run in runs.values()), default=None)
        row["seconds a run"] = statistics.fmean(run.train_seconds for run in runs.values()) if runs else None
        rows.append(row)
    frame = pd.DataFrame(rows)
    return frame.astype({name: float for name in frame.columns if name != "rung"})


def draw(table: pd.DataFrame, state: RunState) -> tuple[Part, ...]:
    verdict = state.verdict
    look = "unknown" if verdict is None else "passes" if verdict.passes else "fails"
    words = f"<p class='verdict {look}'>{html.escape(verdict_words(state))}</p>"
    if table.empty:
        return (words,)
    seeds = [name for name in table.columns if name.startswith("seed ")]
    traces = [
        go.Scatter(
            x=table["rung"].tolist(),
            y=_values(table[name]),
            mode="lines+markers",
            name=name.removesuffix(" (dB)"),
            line={"width": 1, "color": MUTED},
            marker={"size": 6, "symbol": number % 8},
        )
        for number, name in enumerate(seeds)
    ]
    traces.append(
        go.Scatter(
            x=table["rung"].tolist(),
            y=_values(table["mean (dB)"]),
            mode="lines+markers",
            name="mean",
            line={"width": 3, "color": ACCENT},
            marker={"size": 8},
        )
    )
    formats = {name: lambda value: fixed(value, 3) for name in table.columns if name.endswith("(dB)")}
    formats |= {"steps": lambda value: fixed(value, 0), "seconds a run": lambda value: fixed(value, 1)}
    drawing = figure(
        traces, x="SPAN, channels x blocks", y="PSNR (dB)", height=320, xaxis={"type": "category"}
    )
    return words, html_table(table, formats, label=TITLE), drawing


def _values(column: pd.Series) -> list[float | None]:
    return [None if pd.isna(value) else float(value) for value in column]
