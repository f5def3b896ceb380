"""A DataFrame as an HTML table: every cell escaped, sortable by a click on a column's head."""

import html
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from nas.report.numbers import DASH, missing

LONG = 40  # characters from which a cell is wrapped, but not narrowed to a word a line
Formatter = Callable[[Any], str]


def html_table(
    frame: pd.DataFrame,
    formats: Mapping[str, Formatter] | None = None,
    *,
    marks: Mapping[Any, str] | None = None,
    label: str,
) -> str:
    """Write a table in a box of its own that scrolls when the table is wider than the page.

    Args:
        frame: one row a line; the column names are the heads.
        formats: how a column's values are written; others as `str`.
        marks: a CSS class for a row, by its index.
        label: what the box is called to a screen reader.
    """
    formats, marks = formats or {}, marks or {}
    numeric = {name for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name])}
    heads = "".join(
        f'<th scope="col"{_class("num" if name in numeric else "")}>'
        f'<button type="button">{html.escape(str(name))}</button></th>'
        for name in frame.columns
    )
    columns = [_cells(frame[name], formats.get(name, str), name in numeric) for name in frame.columns]
    body = "".join(
        f"<tr{_class(marks.get(index, ''))}>{''.join(cells)}</tr>"
        for index, *cells in zip(frame.index, *columns, strict=True)
    )
    return (
        f'<div class="scroll" role="region" aria-label="{html.escape(label)}" tabindex="0">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cells(column: pd.Series, write: Formatter, is_number: bool) -> list[str]:
    cells = []
    for value in column:
        text = html.escape(DASH if missing(value) else write(value))
        sort = f' data-sort="{"" if missing(value) else value}"' if is_number else ""
        look = "num" if is_number else "text long" if len(text) > LONG else "text"
        cells.append(f"<td{_class(look)}{sort}>{text}</td>")
    return cells


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""
