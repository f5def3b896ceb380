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
ADVICE = "longer_proxy"  # stored beside the settings: what the verdict says to run instead


def note(state: RunState) -> str:
    """Say what the panel holds."""
    return "The settings of this run, and what it had to say on the way."


def table(state: RunState) -> pd.DataFrame:
    """Return one row a setting, nested ones under dotted names."""
    # First what gives the results their meaning: the challenge, the objectives, the limits.
    rows = {
        "challenge": state.challenge.name,
        "objectives": "; ".join(_write_goal(name) for name in state.objectives),
        **{f"limits.{name}": f"at most {value:.10g}" for name, value in state.limits.items()},
    }

    # What is said in words above is not listed a second time as it is stored.
    stored = {
        name: value
        for name, value in list_settings(state.settings)
        if name not in rows and name != ADVICE
    }
    return pd.DataFrame([*rows.items(), *stored.items()], columns=["setting", "value"])


def draw(table: pd.DataFrame, state: RunState) -> tuple[Part, ...]:
    """Draw the notices as a list, then the table."""
    settings = html_table(table, label=TITLE)
    if not state.notices:
        return ("<p class='empty'>No notices.</p>", settings)
    items = "".join(f"<li>{html.escape(notice)}</li>" for notice in state.notices)
    return (f"<ul class='notices'>{items}</ul>", settings)


def _write_goal(name: str) -> str:
    """Return an objective as it is read and typed: "PSNR (dB), larger is better: psnr_db"."""
    better = "larger" if GOALS[name].direction == "maximize" else "smaller"
    return f"{column_name(name)}, {better} is better: {name}"


def list_settings(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested settings under dotted names, with their values in words."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from list_settings(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _write_value(value)


def _write_value(value: Any) -> str:
    """Return a value as it is typed, a list without its brackets."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        is_nested = any(isinstance(item, list | tuple) for item in value)
        return str(value) if is_nested else ", ".join(map(_write_value, value)) or "none"
    return str(value)
