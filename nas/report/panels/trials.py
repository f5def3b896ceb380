"""Every trial, also the failed and the rejected ones, with the reason."""

import pandas as pd

from nas.analysis.results import table as result_table
from nas.analysis.run_state import RunState
from nas.report.html_table import html_table
from nas.report.numbers import fixed, giga, ratio, signed, whole
from nas.report.panel import Part
from nas.report.words import counts, describe, protocol, score_label

TITLE = "All trials"


def note(state: RunState) -> str:
    ends = ", ".join(f"{count} {name}" for name, count in counts(state).items())
    return (
        f"{ends}, beside trial 0, the baseline; why a trial failed or was rejected stands in the last "
        "column. Rejected ones do not count as trials. Click a head to sort.\n"
        f"{score_label(state)}\n{protocol(state)}"
    )


def table(state: RunState) -> pd.DataFrame:
    """One row a record, in order of its number; values are unrounded."""
    rows = result_table(state)
    return pd.DataFrame(
        {
            "trial": rows["number"],
            "state": rows["state"],
            "architecture": [describe(record.spec) for record in state.records],
            "PSNR gain (dB)": rows["psnr_gain_db"].astype(float),
            "PSNR (dB)": rows["psnr_db"].astype(float),
            "runtime ratio": rows["runtime_ratio"].astype(float),
            "± 95 %": rows["runtime_ci"].astype(float),
            "parameters": rows["params"],
            "FLOPs": rows["flops"],
            "score": rows["score"].astype(float),
            "feasible": rows["feasible"],
            "on front": rows["on_front"],
            "steps": rows["fidelity"],
            "training (s)": rows["train_seconds"].astype(float),
            "arch_id": rows["arch_id"],
            "reason": rows["error"],
        }
    )


def draw(table: pd.DataFrame, state: RunState) -> tuple[Part, ...]:
    if table.empty:
        return ("<p class='empty'>Nothing has been proposed yet.</p>",)
    formats = {
        "PSNR gain (dB)": lambda value: signed(value, 3),
        "PSNR (dB)": lambda value: fixed(value, 3),
        "runtime ratio": lambda value: ratio(value, None),
        "± 95 %": lambda value: fixed(value, 3),
        "parameters": whole,
        "FLOPs": giga,
        "score": lambda value: fixed(value, 3),
        "steps": whole,
        "training (s)": lambda value: fixed(value, 1),
    }
    marks = dict(zip(table.index, table["state"], strict=True))
    marks |= dict.fromkeys(table.index[table["on front"] == "yes"], "member")
    return (html_table(table, formats, marks=marks, label=TITLE),)
