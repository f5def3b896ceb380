"""The front as a table, best score first."""

import pandas as pd

from nas.analysis.results import front_table
from nas.analysis.results import table as result_table
from nas.analysis.run_state import RunState
from nas.report.html_table import html_table
from nas.report.numbers import fixed, giga, ratio, signed, whole
from nas.report.panel import Part
from nas.report.words import describe, protocol, score_label

TITLE = "The front, by score"


def note(state: RunState) -> str:
    order = "Feasible: the PSNR gate and the limits hold."
    if not state.can_rank:
        order = "The proxy cannot rank, so the first row has the lowest score, which is not the best."
    order += " Belongs: the probability that it is on the front, by the noise of seeds and of its latency."
    return f"{order}\n{score_label(state)}\n{protocol(state)}"


def table(state: RunState) -> pd.DataFrame:
    """The front's rows under names that a user reads; values are unrounded."""
    rows = front_table(result_table(state))
    specs = {record.number: record.spec for record in state.records}
    columns = {
        "trial": rows["number"],
        "architecture": [describe(specs[number]) for number in rows["number"]],
        "score": rows["score"],
        "feasible": rows["feasible"],
        "belongs": rows["front_probability"],
        "PSNR gain (dB)": rows["psnr_gain_db"],
        "PSNR (dB)": rows["psnr_db"],
        "runtime ratio": rows["runtime_ratio"],
        "± 95 %": rows["runtime_ci"],
        "runtime (ms)": rows["runtime_ms"],
        "parameters": rows["params"],
        "FLOPs": rows["flops"],
        "memory (MiB)": rows["memory_mib"],
    }
    if "test_psnr_db" in rows:
        columns["test PSNR (dB)"] = rows["test_psnr_db"]
    return pd.DataFrame(columns | {"arch_id": rows["arch_id"]})


def draw(table: pd.DataFrame, state: RunState) -> tuple[Part, ...]:
    if table.empty:
        return ("<p class='empty'>No trial is on the front yet.</p>",)
    half_width = table["± 95 %"]
    shown = table.drop(columns="± 95 %")
    by_ratio = dict(zip(shown["runtime ratio"], half_width, strict=True))
    formats = {
        "trial": lambda number: "baseline" if number == 0 else str(number),
        "score": lambda value: fixed(value, 3),
        "belongs": lambda value: fixed(100 * value, 0, " %"),
        "PSNR gain (dB)": lambda value: signed(value, 3),
        "PSNR (dB)": lambda value: fixed(value, 3),
        "runtime ratio": lambda value: ratio(value, by_ratio[value]),
        "runtime (ms)": lambda value: fixed(value, 2),
        "parameters": whole,
        "FLOPs": giga,
        "memory (MiB)": lambda value: fixed(value, 1),
        "test PSNR (dB)": lambda value: fixed(value, 3),
    }
    marks = dict.fromkeys(table.index[table["trial"] == 0], "baseline")
    return (html_table(shown, formats, marks=marks, label=TITLE),)
