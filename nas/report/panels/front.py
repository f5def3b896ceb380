"""The front as a table, best score first."""

import pandas as pd

from nas.analysis.columns import BY_NAME
from nas.analysis.results import front_table
from nas.analysis.results import table as result_table
from nas.analysis.run_state import RunState
from nas.report.column_table import make_formats, select_columns, take_columns
from nas.report.html_table import html_table
from nas.report.numbers import ratio
from nas.report.panel import Part
from nas.report.words import describe, protocol, score_label

TITLE = "The front, by score"
FIRST = (
    "number",
    "score",
    "feasible",
    "front_probability",
    "psnr_gain_db",
    "psnr_db",
    "runtime_ratio",
    "runtime_ci",
    "runtime_ms",
)
TRIAL, RATIO, HALF_WIDTH = (
    BY_NAME[name].heading for name in ("number", "runtime_ratio", "runtime_ci")
)


def note(state: RunState) -> str:
    """Say what the order and the first columns mean, and how score and PSNR were made."""
    # Without a proxy that can rank, the order of scores must not be read as one of quality.
    order = "Feasible: the PSNR gate and the limits hold."
    if not state.can_rank:
        order = (
            "The proxy cannot rank, so the first row has the lowest score, which is not the best."
        )

    belongs = (
        "Belongs: the probability that it is on the front, by the noise of seeds and of its "
        "latency."
    )
    return f"{order} {belongs}\n{score_label(state)}\n{protocol(state)}"


def table(state: RunState) -> pd.DataFrame:
    """Return the front's rows under the heads that a user reads; values are unrounded."""
    # An id says nothing to a reader: the architecture in words comes first, the id last.
    rows = front_table(result_table(state))
    specs = {record.number: record.spec for record in state.records}
    shown = take_columns(rows, select_columns("front", rows, first=FIRST, last=("arch_id",)))
    shown.insert(1, "architecture", [describe(specs[number]) for number in rows["number"]])
    return shown


def draw(table: pd.DataFrame, state: RunState) -> tuple[Part, ...]:
    """Draw the table, the half-width of each ratio beside it."""
    if table.empty:
        return ("<p class='empty'>No trial is on the front yet.</p>",)

    # The half-width stands in the same cell as its ratio, not in a column of its own.
    shown = table.drop(columns=HALF_WIDTH)
    half_widths = dict(zip(table[RATIO], table[HALF_WIDTH], strict=True))
    formats = make_formats(shown) | {
        TRIAL: lambda number: "baseline" if number == 0 else str(number),
        RATIO: lambda value: ratio(value, half_widths[value]),
    }

    # The row of the baseline is what all others are compared with.
    marks = dict.fromkeys(table.index[table[TRIAL] == 0], "baseline")
    return (html_table(shown, formats, marks=marks, label=TITLE),)
