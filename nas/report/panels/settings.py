"""What was run: the notices and the settings."""

import html
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from nas.analysis.columns import GOALS
from nas.analysis.run_state import RunState
from nas.report.html_table import html_table
from nas.report.panel import Part
from nas.report.words import column_name

TITLE = "Settings and notices"
ADVICE = "longer_proxy"  # what the verdict says to run instead: no setting


def note(state: RunState) -> str:
    return "The settings of this run, and what it had to say on the way."


def table(state: RunState) -> pd.DataFrame:
    """One row a setting, nested ones under dotted names."""
    rows = {
        "challenge": state.challenge.name,
        "objectives": "; ".join(_goal_words(name) for name in state.objectives),
        **{f"limits.{name}": f"at most {value:.10g}" for name, value in state.limits.items()},
    }
    stored = {name: value for name, value in _flat(state.settings, "") if name not in (*rows, ADVICE)}
    return pd.DataFrame([*rows.items(), *stored.items()], columns=["setting", "value"])


def _goal_words(name: str) -> str:
    """An objective as it is read and as it is typed: PSNR gain (dB), larger is better: psnr_gain_db."""
    better = "larger" if GOALS[name].direction == "maximize" else "smaller"
    return f"{column_name(name)}, {better} is better: {name}"


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
            yield f"{prefix}{name}", _in_words(value)


def _in_words(value: Any) -> str:
    """A value as it is typed, a list without its brackets."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple) and not any(isinstance(one, list | tuple) for one in value):
        return ", ".join(map(_in_words, value)) or "none"
    return str(value)
