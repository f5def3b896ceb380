"""Tables of the report that show columns of the run: which, in what order, under which heads."""

from collections.abc import Sequence

import pandas as pd

from nas.analysis.column import Column, Panel
from nas.analysis.columns import COLUMNS
from nas.report.html_table import Formatter
from nas.report.numbers import format_value


def select_columns(
    panel: Panel, frame: pd.DataFrame, *, first: Sequence[str], last: Sequence[str]
) -> list[Column]:
    """Return the columns that a panel shows: those named first, all others, those named last.

    Args:
        frame: the run's table; a column that it lacks is left out.
        first, last: names, in their order; a column that is in neither stands between them.
    """
    shown = {
        column.name: column
        for column in COLUMNS
        if panel in column.panels and column.name in frame.columns
    }
    # So a new column shows without a word in the panel, before what is wide or of little use.
    between = [name for name in shown if name not in (*first, *last)]
    return [shown[name] for name in (*first, *between, *last) if name in shown]


def take_columns(frame: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """Return the columns of a run's table under their heads; values are unrounded."""
    return pd.DataFrame({column.heading: frame[column.name] for column in columns})


def make_formats(frame: pd.DataFrame) -> dict[str, Formatter]:
    """Return how the columns of a table are written, by head; of those that have a format."""
    # A column without a format, such as text, is written as it is.
    formats = {column.heading: column.format for column in COLUMNS if column.format}
    return {head: _make_formatter(formats[head]) for head in frame.columns if head in formats}


def _make_formatter(spec: str) -> Formatter:
    return lambda value: format_value(value, spec)
