"""What was run: the notices and the settings."""

import html
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from nas.report.html_table import html_table
from nas.report.panel import Part
from nas.report.words import column_name
from nas.results import RunState

TITLE = "Settings and notices"


def note(state: RunState) -> str:
    return "The settings of this run, and what it had to say on the way."


def table(state: RunState) -> pd.DataFrame:
    """One row a setting, nested ones under dotted names."""
    rows = [
        ("challenge", state.challenge.name),
        ("objectives", ", ".join(column_name(name) for name in state.objectives)),
        *((f"limits.{name}", f"at most {value:g}") for name, value in state.limits.items()),
        *_flat(state.settings, ""),
    ]
    return pd.DataFrame(dict(rows).items(), columns=["setting", "value"])


def draw(table: pd.DataFrame, state: RunState) -> tuple[Part, ...]:
    settings = html_table(table, label=TITLE)
    if not state.notices:
        return ("<p class='empty'>No notices.</p>", settings)
    items = "".join(f"<li>{html.escape(notice)}</li>" for notice in state.notices)
    return (f"<ul class='notices'>{items}</ul>", settings)


def _flat(settings: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value)
