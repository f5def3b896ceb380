"""A table in HTML: every cell is escaped, and a click on a column's head sorts by it."""

import html
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from nas.report.numbers import DASH, missing

LONG = 40  # characters from which a cell keeps a least width, else it wraps word by word
Formatter = Callable[[Any], str]


def html_table(
    frame: pd.DataFrame,
    formats: Mapping[str, Formatter] | None = None,
    *,
    marks: Mapping[Any, str] | None = None,
    label: str,
) -> str:
    """Return a table in a box that scrolls when the table is wider than the page.

    Args:
        frame: one row a line; the column names are the heads.
        formats: how a column's values are written; without one as `str`.
        marks: a CSS class for a row, by its index.
        label: what a screen reader calls the box.
    Example:
        >>> "<td" in html_table(pd.DataFrame({"trial": [1]}), label="Trials")
        True
    """
    formats, marks = formats or {}, marks or {}

    # Numbers stand at the right of their column and sort by value, words at the left.
    numeric = {name for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name])}

    # A head is a button, so that it can be reached and pressed without a mouse.
    heads = "".join(
        f'<th scope="col"{_write_class("num" if name in numeric else "")}>'
        f'<button type="button">{html.escape(str(name))}</button></th>'
        for name in frame.columns
    )
    columns = [
        _write_cells(frame[name], formats.get(name, str), name in numeric) for name in frame.columns
    ]

    # Cells are made by column, as a format belongs to one; the page wants rows.
    body = "".join(
        f"<tr{_write_class(marks.get(index, ''))}>{''.join(cells)}</tr>"
        for index, *cells in zip(frame.index, *columns, strict=True)
    )

    return (
        # A box that scrolls can be focused, and so be scrolled by keys.
        f'<div class="scroll" role="region" aria-label="{html.escape(label)}" tabindex="0">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _write_cells(column: pd.Series, write: Formatter, is_number: bool) -> list[str]:
    """Return a column's cells; numbers carry their value for sorting, unrounded."""
    cells = []
    for value in column:
        # What is shown is rounded, so that a column would sort wrongly by its text.
        text = html.escape(DASH if missing(value) else write(value))
        sort = f' data-sort="{"" if missing(value) else value}"' if is_number else ""
        look = "num" if is_number else "text long" if len(text) > LONG else "text"
        cells.append(f"<td{_write_class(look)}{sort}>{text}</td>")
    return cells


def _write_class(name: str) -> str:
    return f' class="{name}"' if name else ""
