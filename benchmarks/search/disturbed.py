"""Searches of ESR-Bench-mini that are disturbed: each in a process of its own, compared by rows."""

import collections
import contextlib
import functools
import io
import json
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.analysis import front_probability
from nas.cli.door import main
from nas.search.store.facts import RECORD
from nas.search.store.run_folder.run_directory import JOURNAL
from nas.search.store.run_folder.runs import load_run
from nas.search.table.table import Table

SEARCH = [
    "evaluator=table",
    "space=esr_bench_mini",
    "challenge=esr_bench_mini",
    "proxy.steps=2000",
    "ladder_seeds=1",
    "workers=1",
]
MAX_SESSIONS = 4  # after the disturbed one
Row = tuple[int, str, str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """How a session ended: its exit status, negative of a signal, and what it printed."""

    status: int
    printed: str


def nothing() -> None:
    """Disturb nothing."""


def warm_up() -> None:
    """Search once in this process: its forks find modules loaded and what is cached.

    What no row depends on is made once, the table, or coarsely, the probabilities on a page.
    """
    Table.load = functools.cache(Table.load)  # type: ignore[method-assign]
    front_probability.DRAWS = 10
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
        main(["search", f"run={name}/run", *SEARCH, "trials=1"])


def run_session(
    run: Path, overrides: list[str], disturb: Callable[[], None] = nothing, log: str = "session.txt"
) -> Session:
    """Run `nas search` in a fork of this process, so that it can be killed.

    A fork has imported everything: a session takes parts of a second.

    Args:
        disturb: called in the fork before the search.
        log: name of a file beside the run, for what is printed.
    """
    output = run.parent / log
    child = os.fork()
    if child == 0:
        try:
            file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, sys.stdout.fileno()), os.dup2(file, sys.stderr.fileno())
            disturb()
            status = main(["search", f"run={run}", *overrides])
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(status)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(99)
    _, ended = os.waitpid(child, 0)
    return Session(status=os.waitstatus_to_exitcode(ended), printed=output.read_text())


def read_rows(run: Path) -> list[Row]:
    """Read what came out of each row: number, architecture, state, PSNR."""
    return [
        (one.number, one.spec.arch_id, one.state, one.quality.psnr_db if one.quality else None)
        for one in load_run(run).records
    ]


def count_repeated(run: Path) -> int:
    """Count the trials that the journal holds two records of."""
    records = [json.loads(line) for line in (run / JOURNAL).read_bytes().splitlines()]
    written = collections.Counter(
        record["trial_id"] for record in records if RECORD in record.get("user_attr", {})
    )
    return sum(count > 1 for count in written.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a disturbance did to a search.

    Attributes:
        lost, twice: rows that are missing or other ones, and rows that were evaluated twice.
        is_next_equal: whether the next proposal is the undisturbed search's.
        is_clean: whether no session ended otherwise than in one line and status 1, or a kill.
    """

    lost: int
    twice: int
    is_next_equal: bool
    is_clean: bool

    @property
    def is_well(self) -> bool:
        return self == Outcome(lost=0, twice=0, is_next_equal=True, is_clean=True)


def sum_up(outcomes: Sequence[Outcome]) -> str:
    """Return in words what several disturbances did together."""
    return (
        f"rows lost {sum(one.lost for one in outcomes)}, "
        f"twice {sum(one.twice for one in outcomes)}, "
        f"next proposal equal {sum(one.is_next_equal for one in outcomes)}"
    )


def finish_search(run: Path, trials: int, overrides: list[str]) -> bool:
    """Go on with a run until it has one trial more than was asked for; say whether that ended well.

    The last trial is the next proposal of the search.
    """
    sessions = []
    for _ in range(MAX_SESSIONS):
        sessions.append(run_session(run, [*SEARCH, *overrides, f"trials={trials + 1}"]))
        if sessions[-1].status == 0:
            break
    return sessions[-1].status == 0 and all(map(is_clean, sessions))


def is_clean(session: Session) -> bool:
    """Say whether a session ended well, in one line and status 1, or by a kill."""
    return session.status in (0, 1, -9) and "Traceback" not in session.printed


def compare_rows(run: Path, rows: list[Row], *, clean: bool) -> Outcome:
    """Compare a finished run with the rows of the undisturbed one, the next proposal last."""
    found = read_rows(run)
    lost = set(rows[:-1]) - set(found)
    return Outcome(
        lost=len(lost),
        twice=count_repeated(run) + len(found) - len({row[1] for row in found}),
        is_next_equal=found[-1:] == rows[-1:],
        is_clean=clean,
    )


def copy_run(run: Path, to: Path) -> Path:
    """Copy a run directory to a place where nothing lies."""
    shutil.rmtree(to, ignore_errors=True)
    return Path(shutil.copytree(run, to))
