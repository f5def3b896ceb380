"""Every trial, also the failed and the rejected ones, with the reason."""

import pandas as pd

from nas.analysis.columns import BY_NAME
from nas.analysis.results import table as result_table
from nas.analysis.run_state import RunState
from nas.report.column_table import make_formats, select_columns, take_columns
from nas.report.html_table import html_table
from nas.report.panel import Part
from nas.report.words import counts, describe, protocol, score_label

TITLE = "All trials"
FIRST = (
    "number",
    "state",
    "psnr_gain_db",
    "psnr_db",
    "runtime_ratio",
    "runtime_ci",
    "params",
    "flops",
    "score",
    "feasible",
    "on_front",
    "fidelity",
    "train_seconds",
)
LAST = ("arch_id", "error")


def note(state: RunState) -> str:
    """Count how trials ended, and say how score and PSNR were made."""
    # Rejected proposals cost no training, so they are counted apart.
    ends = ", ".join(f"{count} {name}" for name, count in counts(state).items())
    return (
        f"{ends}, beside trial 0, the baseline; why a trial failed or was rejected stands in the "
        "last column. Rejected ones do not count as trials. Click a head to sort.\n"
        f"{score_label(state)}\n{protocol(state)}"
    )


def table(state: RunState) -> pd.DataFrame:
    """Return one row a record, in order of its number; values are unrounded."""
    # Its words stand beside the state: they are how a reader knows a trial again.
    rows = result_table(state)
    shown = take_columns(rows, select_columns("trials", rows, first=FIRST, last=LAST))
    shown.insert(2, "architecture", [describe(record.spec) for record in state.records])
    return shown


def draw(table: pd.DataFrame, state: RunState) -> tuple[Part, ...]:
    """Draw the table, with the members of the front marked."""
    if table.empty:
        return ("<p class='empty'>Nothing has been proposed yet.</p>",)

    # A trial is marked by how it ended, a member of the front as such.
    is_member = table[BY_NAME["on_front"].heading] == "yes"
    marks = dict(zip(table.index, table["state"], strict=True))
    marks |= dict.fromkeys(table.index[is_member], "member")
    return (html_table(table, make_formats(table), marks=marks, label=TITLE),)
