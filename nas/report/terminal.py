"""The terminal's view of a search: live on a screen, plain lines in a pipe, and a summary at the end."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import pandas as pd
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nas.analysis.results import front_table, table
from nas.analysis.run_state import RunState
from nas.report.numbers import duration, fixed, giga, ratio, signed, whole
from nas.report.words import counts, describe, headline, protocol, score_label, verdict_words

TOP_ROWS = 8  # of the front, on the live screen
LAST_NOTICES = 3
WIDE, NARROW = 110, 72  # characters
ONLY_WIDE = ("PSNR dB", "FLOPs")


class Display:
    """Shows a running search; on a pipe it prints one line for each thing that ended, never twice.

    Usage:
        with Display() as display:
            display.update(state, running={12: "step 300 of 600"}, trials_wanted=48, seconds_left=210.0)
    """

    def __init__(self, console: Console | None = None, *, known: RunState | None = None) -> None:
        """known: what an earlier process of this run has told already; it is not told again."""
        self._console = console or Console()
        self._live: Live | None = None
        self._seen: set[tuple[object, ...]] = {key for key, _ in _events(known)} if known else set()
        self._body: tuple[object, RenderableType] | None = None

    def __enter__(self) -> "Display":
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="ellipsis")
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def update(
        self,
        state: RunState,
        *,
        running: Mapping[int, str],
        trials_wanted: int | None,
        seconds_left: float | None,
    ) -> None:
        """Show the state; `running` says what each trial under way is doing. Cheap when nothing has ended."""
        if self._live:
            top = _progress(state, trials_wanted, seconds_left)
            self._live.update(Group(top, self._results(state), *_under_way(running)), refresh=True)
            return
        fresh = [(key, row) for key, row in _events(state) if key not in self._seen]
        if not fresh:
            return
        rows = {int(row["number"]): row for row in table(state).to_dict("records")}
        for key, what in fresh:
            self._seen.add(key)
            line = _trial_line(rows[what], state) if isinstance(what, int) else what
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _results(self, state: RunState) -> RenderableType:
        """Front, verdict and notices, made anew only when something has ended."""
        steps = sum(record.quality.fidelity for record in state.records if record.quality)
        shown = (len(state.records), steps, len(state.ladder), state.notices)
        if self._body is None or self._body[0] != shown:
            members = front_table(table(state))
            parts: list[RenderableType] = [_Front(members.head(TOP_ROWS), state, len(members))]
            parts.append(_verdict(state))
            parts += [Text(f"note: {notice}", style="yellow") for notice in state.notices[-LAST_NOTICES:]]
            self._body = (shown, Group(*parts))
        return self._body[1]


def summary(state: RunState) -> RenderableType:
    """What a search prints at its end: one sentence, the front, what the score means, the verdict."""
    members = front_table(table(state))
    small = [Text(text, style="dim") for text in (score_label(state), protocol(state))]
    return Group(
        Text(headline(state, members), style="bold"),
        _Front(members, state, len(members)),
        *small,
        _verdict(state),
    )


def _events(state: RunState) -> Iterator[tuple[tuple[object, ...], int | str]]:
    """What has ended, each under its own key: a notice or a ladder run as a line, a trial as its number."""
    for place, notice in enumerate(state.notices):
        yield ("notice", place, notice), f"note: {notice}"
    for run in state.ladder:
        line = (
            f"ladder {run.rung} seed {run.seed}: {run.psnr_db:.3f} dB "
            f"({signed(run.psnr_db - run.base_db, 3)} dB over its base) in {duration(run.train_seconds)}"
        )
        yield ("ladder", run.rung, run.seed, run.fidelity), line
    if state.verdict and any(record.number for record in state.records):  # not while the ladder still runs
        yield ("verdict", state.verdict.reason), f"ladder: {verdict_words(state)}"
    for record in state.records:
        yield ("trial", record.number, record.quality and record.quality.fidelity), record.number


def _trial_line(row: Mapping[Any, Any], state: RunState) -> str:
    name = "baseline" if row["number"] == 0 else f"trial {row['number']}"
    if row["state"] != "complete":
        return f"{name} {row['state']}: {' '.join(str(row['error']).split())}"
    words = describe(next(record.spec for record in state.records if record.number == row["number"]))
    front = ", on the front" if row["on_front"] == "yes" else ""
    top = state.yardstick.top_fidelity
    end = "complete" if top in (None, row["fidelity"]) else f"paused at {row['fidelity']} of {top} steps"
    return (
        f"{name} {end}{front}: gain {signed(row['psnr_gain_db'], 3, ' dB')}, "
        f"PSNR {fixed(row['psnr_db'], 3, ' dB')}, "
        f"runtime ratio {ratio(row['runtime_ratio'], row['runtime_ci'])}, {whole(row['params'])} parameters, "
        f"score {fixed(row['score'], 3)}; {words}"
    )


def _progress(state: RunState, wanted: int | None, seconds_left: float | None) -> RenderableType:
    ends = counts(state)
    done = ends["complete"] + ends["failed"]
    words = Text.assemble((state.name, "bold"), f"  {done}{'' if wanted is None else f' of {wanted}'} trials")
    for name, style in (("failed", "red"), ("rejected", "dim")):
        words.append(f", {ends[name]} {name}" if ends[name] else "", style=style)
    words.append("" if seconds_left is None else f", {duration(seconds_left)} left")
    if wanted is None:
        return words
    bar = Table.grid()  # alone, a bar does not end its line
    bar.add_row(ProgressBar(total=max(wanted, 1), completed=min(done, wanted), width=48))
    return Group(words, bar)


def _under_way(running: Mapping[int, str]) -> list[RenderableType]:
    return [
        Text(f"trial {number}: {doing}", style="cyan", no_wrap=True)
        for number, doing in sorted(running.items())
    ]


@dataclass(frozen=True)
class _Front:
    """The front's rows: a table with as many columns as the screen is wide, or lines on a narrow one."""

    members: pd.DataFrame
    state: RunState
    size: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.members.empty:
            yield Text("No trial is on the front yet.", style="dim")
            return
        order = "best score first" if self.state.can_rank else "lowest score first; the proxy cannot rank"
        yield Text(f"Front of {self.size}, {order}", style="bold")
        rows = [self._cells(row) for row in self.members.to_dict("records")]
        if options.max_width < NARROW:  # a table would cut its numbers
            for row in rows:
                yield Text(", ".join(f"{head} {cell}" for head, cell in row.items() if head not in ONLY_WIDE))
            return
        shown = Table(box=None, pad_edge=False)
        for head in rows[0]:
            if options.max_width >= WIDE or head not in ONLY_WIDE:
                shown.add_column(head, justify="left" if head == "architecture" else "right")
        for row in rows:
            shown.add_row(*(row[str(column.header)] for column in shown.columns))
        yield shown

    def _cells(self, row: Mapping[Any, Any]) -> dict[str, Text]:
        spec = next(record.spec for record in self.state.records if record.number == row["number"])
        cells = {
            "trial": "base" if row["number"] == 0 else str(row["number"]),
            "score": fixed(row["score"], 3),
            "gain dB": signed(row["psnr_gain_db"], 3),
            "PSNR dB": fixed(row["psnr_db"], 2),
            "ratio": ratio(row["runtime_ratio"], row["runtime_ci"]),
            "params": whole(row["params"]),
            "FLOPs": giga(row["flops"]),
            "feasible": str(row["feasible"]),
        }
        shown = {head: Text(cell, no_wrap=True) for head, cell in cells.items()}
        return shown | {"architecture": Text(describe(spec))}


def _verdict(state: RunState) -> RenderableType:
    verdict = state.verdict
    style = "yellow" if verdict is None else "green" if verdict.passes else "red"
    return Text(verdict_words(state), style=style)
