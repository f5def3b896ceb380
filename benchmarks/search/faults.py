"""Does a search lose or repeat anything whose disk or whose workers fail at any moment?

    python benchmarks/search/faults.py [--trials 4] [--sampler random] [--sample N] [--workers-too]

A search of ESR-Bench-mini runs once undisturbed. Then it runs once for each append to its journal,
each other file that it writes, each rename, and each call of its evaluator, and meets there a
fault: an error (no space left), a short write (half of it, then an error), or a kill of the process
(half of it, then SIGKILL). A call also fails three times in a row, and, with --workers-too, kills
the process of a real worker. Each search is gone on with until it has one trial more. Compared are
its rows, how often each was written, and its next proposal. The exit status is 1 where one differs.
"""

import dataclasses
import errno
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.search.disturbed import (
    SEARCH,
    Outcome,
    Row,
    compare_rows,
    finish_search,
    is_clean,
    read_rows,
    run_session,
    sum_up,
    warm_up,
)
from benchmarks.search.killed_workers import KillingMaker
from benchmarks.shared.arguments import make_parser
from nas.search.backends.table import TableBackend
from nas.search.engines import simulated
from nas.search.engines.local import LocalEngine
from nas.system.files import record_file

KINDS = {
    "append": ("error", "short", "kill"),
    "write": ("error", "short", "kill"),
    "rename": ("error", "kill"),
    "call": ("error", "three errors", "kill"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A fault at one moment: the `number`th time, from 0, that a `place` is come to."""

    place: str
    number: int
    kind: str


@dataclass(slots=True)
class Injector:
    """Counts the places that a search comes to, and fails at one point.

    Attributes:
        point: None: it only counts.
        counts: file to which the name of each place is appended.
    """

    point: Point | None
    counts: Path
    _seen: Counter[str] = dataclasses.field(default_factory=Counter)

    def install(self) -> None:
        """Take the places of what writes and evaluates in this process."""
        write_all, write_text, replace = record_file._write_all, Path.write_text, os.replace
        run_task = simulated.run_task

        def append(descriptor: int, data: bytes) -> None:
            self.meet("append", lambda: write_all(descriptor, data[: len(data) // 2]))
            write_all(descriptor, data)

        def write(path: Path, data: str, *args: Any, **kwargs: Any) -> int:
            self.meet("write", lambda: write_text(path, data[: len(data) // 2], *args, **kwargs))
            return write_text(path, data, *args, **kwargs)

        def rename(source: Any, target: Any) -> None:
            self.meet("rename", lambda: None)
            replace(source, target)

        def call(evaluator: Any, task: Any, say: Any) -> Any:
            return run_task(Disturbed(evaluator, self), task, say)

        record_file._write_all = append
        Path.write_text = write  # type: ignore[method-assign, assignment]
        os.replace = rename  # type: ignore[assignment]
        simulated.run_task = call  # type: ignore[attr-defined]

    def meet(self, place: str, write_half: Callable[[], Any]) -> None:
        """Count a place, and fail where it is the point."""
        number, self._seen[place] = self._seen[place], self._seen[place] + 1
        if self.point is None:
            with self.counts.open("a") as file:
                file.write(f"{place}\n")
            return
        point = self.point
        last = point.number + (2 if point.kind == "three errors" else 0)
        if place != point.place or not point.number <= number <= last:
            return

        if point.kind in ("short", "kill"):
            write_half()
        if point.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Disturbed:
    """An evaluator whose calls may fail."""

    def __init__(self, evaluator: Any, injector: Injector) -> None:
        self._evaluator, self._injector = evaluator, injector

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any) -> Any:
            self._injector.meet("call", lambda: None)
            return getattr(self._evaluator, name)(*args)

        return call if name != "notices" else []


def use_real_workers(counts: Path, number: int) -> None:
    """Look the table up in processes of their own, one of which is killed."""
    open_backend = TableBackend.open

    def open_on_workers(self: TableBackend, parts: Any) -> Any:
        opened = open_backend(self, parts)
        make = KillingMaker(opened.make_evaluator, counts, number)
        return dataclasses.replace(opened, engine=LocalEngine(), make_evaluator=make)

    TableBackend.open = open_on_workers  # type: ignore[method-assign]


@contextmanager
def made_folder() -> Iterator[Path]:
    """Make a folder for one search."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def list_points(overrides: list[str]) -> tuple[list[Row], list[Point]]:
    """Search undisturbed; return its rows, the next proposal last, and all points of a fault."""
    with made_folder() as folder:
        injector = Injector(None, folder / "counts")
        session = run_session(folder / "run", [*SEARCH, *overrides], injector.install)
        assert session.status == 0, session.printed
        counts = Counter((folder / "counts").read_text().split())
        trials = int(overrides[0].partition("=")[2])
        assert finish_search(folder / "run", trials, overrides[1:])
        points = [
            Point(place=place, number=number, kind=kind)
            for place, kinds in KINDS.items()
            for number in range(counts[place])
            for kind in kinds
        ]
        return read_rows(folder / "run"), points


def meet_point(point: Point, rows: list[Row], overrides: list[str]) -> Outcome:
    """Search with a fault at a point, go on with the run, and compare it."""
    with made_folder() as folder:
        install = Injector(point, folder / "counts").install
        if point.place == "worker":

            def install() -> None:
                use_real_workers(folder / "counts", point.number)

        session = run_session(folder / "run", [*SEARCH, *overrides], install)
        trials = int(overrides[0].partition("=")[2])
        clean = finish_search(folder / "run", trials, overrides[1:]) and is_clean(session)
        outcome = compare_rows(folder / "run", rows, clean=clean)
        if not outcome.is_well:
            print(f"{point}: {outcome}\n{session.printed}", flush=True)
        return outcome


def main() -> None:
    """Meet every point, or some; the exit status is 1 where a search came out otherwise."""
    parser = make_parser(__doc__)
    parser.add_argument("--trials", type=int, default=4, help="of each search")
    parser.add_argument("--sampler", default="random", help="of each search")
    parser.add_argument("--sample", type=int, help="points of each place and kind; all by default")
    parser.add_argument("--workers-too", action="store_true", help="kill real workers as well")
    options = parser.parse_args()

    overrides = [f"trials={options.trials}", f"sampler={options.sampler}"]
    warm_up()
    rows, points = list_points(overrides)
    if options.workers_too:
        num_calls = len({point.number for point in points if point.place == "call"})
        points += [Point(place="worker", number=n, kind="kill") for n in range(num_calls)]

    # A sample takes its points from the whole search.
    groups: dict[tuple[str, str], list[Point]] = {}
    for point in points:
        groups.setdefault((point.place, point.kind), []).append(point)
    draw, well = random.Random(0), True
    for (place, kind), group in groups.items():
        if options.sample and len(group) > options.sample:
            group = sorted(draw.sample(group, options.sample), key=lambda point: point.number)
        outcomes = [meet_point(point, rows, overrides) for point in group]
        well = well and all(outcome.is_well for outcome in outcomes)
        print(
            f"{place}, {kind}: {len(outcomes)} points, {sum_up(outcomes)}, "
            f"ended in one line {sum(one.is_clean for one in outcomes)}",
            flush=True,
        )
    sys.exit(not well)


if __name__ == "__main__":
    main()
