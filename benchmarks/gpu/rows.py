"""What a section of gpu.py is handed and gives: rows, printed and written as they come."""

import json
import math
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.shared.lines import append_line
from benchmarks.shared.tables import format_head, format_row

TITLES = ("figure", "measured", "p10 to p90", "demand", "hoped", "met", "note")  # of the table


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number. `demand` is met from above where `higher`, else from below.

    low and high are the 10th and the 90th percentile of the rounds; sm_mhz is the clock before and
    after.
    """

    name: str
    value: float
    demand: float | None = None  # what the issues ask for; None: nothing
    hoped: float | None = None  # what would be good
    higher: bool = True
    unit: str = "x"
    note: str = ""
    low: float | None = None
    high: float | None = None
    sm_mhz: tuple[float | None, float | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Whether something computes what it should; a reason where it could not be tried."""

    name: str
    words: str
    is_wrong: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something to keep beside the figures, as JSON takes it."""

    name: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a section ended: done, failed or not run, and why."""

    status: str
    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What every section is handed.

    Attributes:
        weights: a released SPANV2 checkpoint; None: random weights.
    """

    weights: Path | None = None


Row = Figure | Check | Fact | Outcome
Measure = Callable[[Given], Iterator[Row]]  # a section: gives its rows one after another


def run_tasks(tasks: Mapping[str, Callable[[], Iterator[Row]]]) -> Iterator[Row]:
    """Yield the rows of every task; a task that raises costs its own rows only.

    Raises:
        RuntimeError: at the end, naming the tasks that raised: the section has failed.
    """
    # Each task's rows stand for themselves: a kernel that fails must not hide the others.
    failures = []
    for name, task in tasks.items():
        try:
            yield from task()
        except Exception as error:  # the other rows are worth having
            traceback.print_exc()
            message = (str(error).strip().splitlines() or ["no message"])[0]
            failures.append(f"{name} ({type(error).__name__}: {message})")
    if failures:
        raise RuntimeError(f"not measured: {', '.join(failures)}")


def write_row(file: Path, section: str, row: Row) -> None:
    """Print a row, and add it to the file as a line of JSON of its own, at once.

    A figure that is no number, such as the error of a kernel that gives NaN, is written as a wrong
    check.
    """
    row = _make_finite(row)
    head = {
        "kind": type(row).__name__.lower(),
        "section": section,
        "time": time.strftime("%H:%M:%S"),
    }
    append_line(file, head | asdict(row))
    print(f"{section}: {_describe_row(row)}", flush=True)


def _make_finite(row: Row) -> Row:
    """Return a row that JSON can hold: it has no word for NaN and infinity."""
    if isinstance(row, Figure) and not math.isfinite(row.value):
        return Check(name=row.name, words=f"{row.value} {row.unit}, no number", is_wrong=True)
    try:
        json.dumps(asdict(row), allow_nan=False)
    except ValueError:
        # The value is a number, so what is not finite lies beside it.
        if isinstance(row, Figure):
            return replace(row, low=None, high=None)
        return replace(row, value=repr(row.value)) if isinstance(row, Fact) else row
    return row


def format_table(title: str, rows: Iterable[dict[str, Any]]) -> str:
    """Return Markdown: figures beside what is demanded, then what was not measured, then checks."""
    rows = list(rows)
    # A section that was not measured is a row too: it must not look as if it had not been asked.
    figures = [_format_figure(row) for row in rows if row["kind"] == "figure"]
    absent = [
        format_row([row["section"], "not measured", "", "", "", "", row["reason"]])
        for row in rows
        if row["kind"] == "outcome" and row["status"] != "done"
    ]
    checks = [
        f"- {'WRONG: ' if row['is_wrong'] else ''}{row['name']}: {row['words']}"
        for row in rows
        if row["kind"] == "check"
    ]
    return "\n".join([title, "", *format_head(TITLES), *figures, *absent, "", *checks])


def _format_figure(row: dict[str, Any]) -> str:
    figure = Figure(**{name: row[name] for name in Figure.__slots__})
    value, demand, hoped = (
        _format_number(number, figure.unit)
        for number in (figure.value, figure.demand, figure.hoped)
    )
    spread = "" if figure.low is None else f"{figure.low:.3g} to {figure.high:.3g}"
    met = _judge_figure(figure)
    return format_row([figure.name, value, spread, demand, hoped, met, figure.note])


def _describe_row(row: Row) -> str:
    """Return a row as one line for the terminal."""
    if isinstance(row, Figure):
        demand, clock = "", ""
        if row.demand is not None:
            demand = f" (demand {_format_number(row.demand, row.unit)}: {_judge_figure(row)})"
        if row.sm_mhz is not None:
            clock = f" [SM {row.sm_mhz[0]} to {row.sm_mhz[1]} MHz]"
        value = _format_number(row.value, row.unit)
        return f"{row.name}: {value}{demand} {row.note}{clock}".rstrip()

    if isinstance(row, Check):
        return f"{row.name}: {'WRONG: ' if row.is_wrong else ''}{row.words}"
    if isinstance(row, Fact):
        return f"{row.name}: {row.value if isinstance(row.value, str) else json.dumps(row.value)}"
    return f"{row.status} in {row.seconds:.1f} s{': ' if row.reason else ''}{row.reason}"


def _judge_figure(figure: Figure) -> str:
    """Say whether a figure reaches what is hoped for or demanded; "-" where nothing is demanded."""

    def reaches(threshold: float) -> bool:
        return figure.value >= threshold if figure.higher else figure.value <= threshold

    if figure.hoped is not None and reaches(figure.hoped):
        return "yes, as hoped"
    if figure.demand is None:
        return "-"
    return "yes" if reaches(figure.demand) else "no"


def _format_number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.3g}{'' if unit == 'x' else ' '}{unit}".strip()
