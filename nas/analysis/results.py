"""A run as a table: one row a record, and the rows of it that people ask for."""

from typing import Any

import pandas as pd

from nas.analysis.columns import COLUMNS, READERS, read_row
from nas.analysis.membership import fill_membership
from nas.analysis.row import Row
from nas.analysis.run_state import RunState, Yardstick
from nas.record import TrialRecord

TABLE = "results table"  # in a state's memo


def table(state: RunState) -> pd.DataFrame:
    """Return one row a record, with the columns of `nas.analysis.columns` in their order.

    What was not measured is NaN, NA or None. The table is computed once for a state; every caller
    gets a copy.
    """
    if TABLE not in state.memo:
        state.memo[TABLE] = _compute_table(state)
    frame: pd.DataFrame = state.memo[TABLE]
    return frame.copy()


def row_of(record: TrialRecord, state: RunState, yardstick: Yardstick) -> dict[str, Any]:
    """Return the cells of one record, but for those that depend on the other rows.

    Args:
        yardstick: of the state.
    """
    return read_row(Row(record, state, yardstick))


def front_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows on the front, best score first."""
    return frame[frame["on_front"] == "yes"].sort_values(["score", "number"], kind="stable")


def best_score_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the complete rows that pass gate and limits, best score first."""
    passing = frame[(frame["feasible"] == "yes") & (frame["state"] == "complete")]
    return passing.sort_values(["score", "number"], kind="stable")


def _compute_table(state: RunState) -> pd.DataFrame:
    yardstick = state.yardstick
    rows = [Row(record, state, yardstick) for record in state.records]

    # Column by column: pandas takes far longer over a list of rows, whose types it has to guess.
    series: dict[str, pd.Series[Any]] = {}
    for column in COLUMNS:
        read = READERS.get(column.name)
        cells = [read(row) for row in rows] if read else [None] * len(rows)
        # Most runs read no test set: an empty column would only ask what it is for.
        if column.optional and all(cell is None for cell in cells):
            continue
        # pandas has its own type for text, which differs between its versions 2 and 3.
        dtype = None if column.dtype == "text" else column.dtype
        series[column.name] = pd.Series(cells, dtype=dtype)
    frame = pd.DataFrame(series)

    fill_membership(frame, state)
    return frame
