"""A search in the terminal: live on a screen, lines in a pipe, and a summary at the end."""

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

from nas.analysis.membership import explain_empty_front
from nas.analysis.results import front_table, table
from nas.analysis.run_state import RunState
from nas.report.numbers import duration, fixed, giga, ratio, signed, whole
from nas.report.words import counts, describe, headline, protocol, score_label, verdict_words

TOP_ROWS = 8  # of the front, on the live screen
LAST_NOTICES = 3
WIDE, NARROW = 110, 72  # characters
ONLY_WIDE = ("PSNR dB", "FLOPs")  # heads that a narrow screen leaves out


class Display:
    """Shows a running search; on a pipe it prints one line for each thing that ended, never twice.

    Args:
        console: that of `nas.system.console` also shows what a terminal would obey.
        known: what an earlier process of this run has printed; it is not printed again.
    Example:
        with Display() as display:
            display.update(state, running={12: "step 300"}, trials_wanted=48, seconds_left=210.0)
    """

    def __init__(self, console: Console | None = None, *, known: RunState | None = None) -> None:
        self._console = console or Console(markup=False, emoji=False, highlight=False)
        self._live: Live | None = None
        events = _list_events(known) if known else ()
        self._printed: set[tuple[object, ...]] = {key for key, _ in events}
        self._body: tuple[object, RenderableType] | None = None

    def __enter__(self) -> "Display":
        # A terminal that cannot move its cursor keeps every line, as a pipe does.
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(
                console=self._console, auto_refresh=False, vertical_overflow="ellipsis"
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
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
        """Show the state; cheap when nothing has ended since the last call.

        Args:
            running: what each trial under way is doing, by its number.
        """
        if self._live:
            # A screen shows the present state; there is no need to know what is new.
            top = _draw_progress(state, trials_wanted, seconds_left)
            under_way = _list_running(running)
            self._live.update(Group(top, self._draw_results(state), *under_way), refresh=True)
            return

        # A pipe keeps every line, so each event is printed once. The table is asked for only where
        # one is new, as this is called several times a second.
        fresh = [(key, event) for key, event in _list_events(state) if key not in self._printed]
        if not fresh:
            return
        rows = {int(row["number"]): row for row in table(state).to_dict("records")}
        for key, event in fresh:
            self._printed.add(key)
            line = _write_trial(rows[event], state) if isinstance(event, int) else event
            self._console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def _draw_results(self, state: RunState) -> RenderableType:
        """Draw front, verdict and notices; anew only when something has ended."""
        # A trial that goes on to a higher rung adds no record, but steps.
        steps = sum(record.quality.fidelity for record in state.records if record.quality)
        num_runs = len(state.ladder) + len(state.longer_ladder)
        shown = (len(state.records), steps, num_runs, state.notices)
        if self._body is None or self._body[0] != shown:
            # The table is made from all records, so not at each of several updates a second.
            members = front_table(table(state))
            last_notices = state.notices[-LAST_NOTICES:]
            parts: list[RenderableType] = [_Front(members.head(TOP_ROWS), state, len(members))]
            parts.append(_draw_verdict(state))
            parts += [Text(f"note: {notice}", style="yellow") for notice in last_notices]
            self._body = (shown, Group(*parts))

        return self._body[1]


def summary(state: RunState) -> RenderableType:
    """Draw what a search prints at its end.

    That is one sentence, the front, what score and PSNR mean, and the ladder's verdict.
    """
    members = front_table(table(state))
    small = [Text(text, style="dim") for text in (score_label(state), protocol(state))]
    return Group(
        Text(headline(state, members), style="bold"),
        _Front(members, state, len(members)),
        *small,
        _draw_verdict(state),
    )


def _list_events(state: RunState) -> Iterator[tuple[tuple[object, ...], int | str]]:
    """Yield what has ended, each under its own key.

    A notice, a ladder run and the verdict are lines; a trial is its number, as its line needs the
    table.
    """
    for place, notice in enumerate(state.notices):
        yield ("notice", place, notice), f"note: {notice}"
    for run in state.ladder:
        over_base = signed(run.psnr_db - run.base_db, 3, " dB")
        line = (
            f"ladder {run.rung} seed {run.seed}: {run.psnr_db:.3f} dB "
            f"({over_base} over its base) in {duration(run.train_seconds)}"
        )
        yield ("ladder", run.rung, run.seed, run.fidelity), line
    for run in state.longer_ladder if state.longer_plan.steps else ():
        line = f"ladder {run.rung} after {run.fidelity:,} steps: {run.psnr_db:.3f} dB"
        yield ("longer ladder", run.rung), line

    # While the ladder still runs, one more seed may change its verdict.
    if state.verdict and any(record.number for record in state.records):
        yield ("verdict", state.verdict.reason), f"ladder: {verdict_words(state)}"

    # A trial that went on to a higher rung is an event of its own.
    for record in state.records:
        yield ("trial", record.number, record.quality and record.quality.fidelity), record.number


def _write_trial(row: Mapping[Any, Any], state: RunState) -> str:
    """Return the line of a trial: how it ended and what was measured, or why it failed."""
    # A message of an error may have several lines: the log has one a trial.
    name = "baseline" if row["number"] == 0 else f"trial {row['number']}"
    if row["state"] != "complete":
        return f"{name} {row['state']}: {' '.join(str(row['error']).split())}"

    spec = next(record.spec for record in state.records if record.number == row["number"])

    # A trial that stopped at a rung may go on later: it is paused, not complete.
    front = ", on the front so far" if row["on_front"] == "yes" else ""
    top = state.yardstick.top_fidelity
    is_whole = top in (None, row["fidelity"])
    end = "complete" if is_whole else f"paused at {row['fidelity']} of {top} steps"
    return (
        f"{name} {end}{front}: gain {signed(row['psnr_gain_db'], 3, ' dB')}, "
        f"PSNR {fixed(row['psnr_db'], 3, ' dB')}, "
        f"runtime ratio {ratio(row['runtime_ratio'], row['runtime_ci'])}, "
        f"{whole(row['params'])} parameters, score {fixed(row['score'], 3)}; {describe(spec)}"
    )


def _draw_progress(
    state: RunState, wanted: int | None, seconds_left: float | None
) -> RenderableType:
    """Draw how many trials ended, and a bar where it is known how many are wanted."""
    # Rejected proposals are shown and do not count as trials.
    ends = counts(state)
    done = ends["complete"] + ends["failed"]
    of_all = "" if wanted is None else f" of {wanted}"
    words = Text.assemble((state.name, "bold"), f"  {done}{of_all} trials")
    for name, style in (("failed", "red"), ("rejected", "dim")):
        words.append(f", {ends[name]} {name}" if ends[name] else "", style=style)
    words.append("" if seconds_left is None else f", {duration(seconds_left)} left")
    if wanted is None:
        return words

    bar = Table.grid()  # alone, a bar does not end its line
    bar.add_row(ProgressBar(total=max(wanted, 1), completed=min(done, wanted), width=48))
    return Group(words, bar)


def _list_running(running: Mapping[int, str]) -> list[RenderableType]:
    return [
        Text(f"trial {number}: {doing}", style="cyan", no_wrap=True)
        for number, doing in sorted(running.items())
    ]


@dataclass(frozen=True)
class _Front:
    """The front's rows: as many columns as the screen is wide, or lines on a narrow one.

    Attributes:
        members: the rows that are shown.
        size: of the whole front.
    """

    members: pd.DataFrame
    state: RunState
    size: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.members.empty:
            reason = explain_empty_front(table(self.state), self.state)
            yield Text(f"The front is empty: {reason}.", style="dim")
            return

        order = "best score first"
        if not self.state.can_rank:
            order = "lowest score first; the proxy cannot rank"
        yield Text(f"Front of {self.size}, {order}", style="bold")

        rows = [self._write_cells(row) for row in self.members.to_dict("records")]
        if options.max_width < NARROW:  # a table would cut its numbers
            for row in rows:
                parts = [f"{head} {cell}" for head, cell in row.items() if head not in ONLY_WIDE]
                yield Text(", ".join(parts))
            return

        # FLOPs and PSNR are what a reader misses least where there is no room for all.
        shown = Table(box=None, pad_edge=False)
        for head in rows[0]:
            if options.max_width >= WIDE or head not in ONLY_WIDE:
                shown.add_column(head, justify="left" if head == "architecture" else "right")

        for row in rows:
            shown.add_row(*(row[str(column.header)] for column in shown.columns))
        yield shown

    def _write_cells(self, row: Mapping[Any, Any]) -> dict[str, Text]:
        """Return a row's cells by head; the heads are short, as a terminal is narrow."""
        spec = next(record.spec for record in self.state.records if record.number == row["number"])

        # Widths change with the numbers, so no cell is padded here: the table does that.
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

        # A number that wraps is misread; an architecture may wrap.
        shown = {head: Text(cell, no_wrap=True) for head, cell in cells.items()}
        return shown | {"architecture": Text(describe(spec))}


def _draw_verdict(state: RunState) -> RenderableType:
    verdict = state.verdict
    # Yellow: not known yet; red: no score is to be believed.
    style = "yellow" if verdict is None else "green" if verdict.passes else "red"
    return Text(verdict_words(state), style=style)
