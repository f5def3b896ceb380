"""What a section of benchmarks/gpu/gpu.py is handed and gives: rows, printed and written as they come."""

import json
import math
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number. `demand` is met from above where `higher`, else from below.

    low and high are the 10th and the 90th percentile of the rounds; sm_mhz is the clock before and after.
    """

    name: str
    value: float
    demand: float | None = None
    hoped: float | None = None
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


def each(tasks: Mapping[str, Callable[[], Iterator[Row]]]) -> Iterator[Row]:
    """The rows of every task; one that raises costs its own rows, and the section ends as failed.

    Raises:
        RuntimeError: at the end, it names the tasks that raised.
    """
    failed = []
    for name, task in tasks.items():
        try:
            yield from task()
        except Exception as error:  # the other rows are worth having
            traceback.print_exc()
            said = (str(error).strip().splitlines() or ["no message"])[0]
            failed.append(f"{name} ({type(error).__name__}: {said})")
    if failed:
        raise RuntimeError(f"not measured: {', '.join(failed)}")


def write(file: Path, section: str, row: Row) -> None:
    """Print a row, and add it to the file as a line of JSON of its own, at once.

    A figure that is no number, such as the error of a kernel that gives NaN, is written as a wrong check.
    """
    row = _as_json_takes_it(row)
    line = {
        "kind": type(row).__name__.lower(),
        "section": section,
        "time": time.strftime("%H:%M:%S"),
    }
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(line | asdict(row), allow_nan=False) + "\n")
    print(f"{section}: {_in_words(row)}", flush=True)


def _as_json_takes_it(row: Row) -> Row:
    if isinstance(row, Figure) and not math.isfinite(row.value):
        return Check(name=row.name, words=f"{row.value} {row.unit}, no number", is_wrong=True)
    try:
        json.dumps(asdict(row), allow_nan=False)
    except ValueError:  # beside it something is not finite
        if isinstance(row, Figure):
            return replace(row, low=None, high=None)
        return replace(row, value=repr(row.value)) if isinstance(row, Fact) else row
    return row


def read(file: Path) -> list[dict[str, Any]]:
    """Every whole line of a file; a process that was killed may have left half of one."""
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def table(title: str, rows: Iterable[dict[str, Any]]) -> str:
    """Markdown: figures with what is demanded and hoped for, then what was not measured, then checks."""
    rows = list(rows)
    lines = [
        title,
        "",
        "| figure | measured | p10 to p90 | demand | hoped | met | note |",
        "|---" * 7 + "|",
    ]
    lines += [_figure_line(row) for row in rows if row["kind"] == "figure"]
    lines += [
        f"| {row['section']} | not measured | | | | | {row['reason']} |"
        for row in rows
        if row["kind"] == "outcome" and row["status"] != "done"
    ]
    checks = [
        f"- {'WRONG: ' if row['is_wrong'] else ''}{row['name']}: {row['words']}"
        for row in rows
        if row["kind"] == "check"
    ]
    return "\n".join([*lines, "", *checks])


def _figure_line(row: dict[str, Any]) -> str:
    figure = Figure(**{name: row[name] for name in Figure.__slots__})
    spread = "" if figure.low is None else f"{figure.low:.3g} to {figure.high:.3g}"
    demand, hoped = (_number(value, figure.unit) for value in (figure.demand, figure.hoped))
    cells = (figure.name, _number(figure.value, figure.unit), spread, demand, hoped, _met(figure))
    return f"| {' | '.join(cells)} | {figure.note} |"


def _in_words(row: Row) -> str:
    if isinstance(row, Figure):
        wanted = (
            "" if row.demand is None else f" (demand {_number(row.demand, row.unit)}: {_met(row)})"
        )
        clock = "" if row.sm_mhz is None else f" [SM {row.sm_mhz[0]} to {row.sm_mhz[1]} MHz]"
        return f"{row.name}: {_number(row.value, row.unit)}{wanted} {row.note}{clock}".rstrip()
    if isinstance(row, Check):
        return f"{row.name}: {'WRONG: ' if row.is_wrong else ''}{row.words}"
    if isinstance(row, Fact):
        return f"{row.name}: {row.value if isinstance(row.value, str) else json.dumps(row.value)}"
    return f"{row.status} in {row.seconds:.1f} s{': ' if row.reason else ''}{row.reason}"


def _met(figure: Figure) -> str:
    def reaches(wanted: float) -> bool:
        return figure.value >= wanted if figure.higher else figure.value <= wanted

    if figure.hoped is not None and reaches(figure.hoped):
        return "yes, as hoped"
    if figure.demand is None:
        return "-"
    return "yes" if reaches(figure.demand) else "no"


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.3g}{'' if unit == 'x' else ' '}{unit}".strip()
