"""How many training steps does a whole search need on a table of trained networks?

    python benchmarks/search/table.py [METHOD ...] [--table esr_bench_mini] [--goal front]

Every method is a real search of `nas search evaluator=table`: its sampler, its study, its rungs,
one worker; but moasha, which is Syne Tune's (rivals.py), is run only where it is named. A network
counts once it was trained to the end, with the table's mean over seeds; the ladder's steps, which
all methods pay alike, are left out. The hypervolume lies between the gate's gain (with --gate,
another one) and the baseline's runtime; `score` is the first network that passes the gate with a
score within 1 % of the table's best. Lines are appended to the results file as they come, and what
is there is not run again.

The table holds trainings of full length until shares of the hypervolume and until the score, then
how far the searches came that did not arrive, and how many times ours the best of Optuna's takes.
"""

import contextlib
import dataclasses
import functools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from benchmarks.search.rivals import LIBRARIES, explain_missing_libraries, search_by_moasha
from benchmarks.shared.comparison import (
    compare_with_stock,
    format_quartiles,
    make_comparison_parser,
    run_missing,
)
from benchmarks.shared.lines import Line
from benchmarks.shared.tables import format_head, format_row
from nas.analysis.ladder import rung_spec
from nas.analysis.pareto import hypervolume
from nas.analysis.run_state import RunState
from nas.cli import catalog
from nas.commands.search import compose_search
from nas.record import TrialRecord
from nas.score import Challenge
from nas.search.config import Budget, SearchConfig
from nas.search.engines.tasks import started
from nas.search.session import SearchSession
from nas.search.table.table import Table, find_table

SHARES = (0.9, 0.95, 0.98)
GOALS = (*map(str, SHARES), "score")  # what is looked for
MAX_SCORE_RATIO = 1.01  # to the best score
METHODS: dict[str, tuple[list[str], str]] = {  # overrides, and how trainings pause
    "random": (["sampler=random"], "single"),
    "nsga2_50": (["sampler=nsga2", "sampler.population=50"], "single"),
    "nsga2_20": (["sampler=nsga2", "sampler.population=20"], "single"),
    "tpe": (["sampler=tpe"], "single"),
    "gp": (["sampler=gp"], "single"),
    "evolution": (["sampler=evolution"], "single"),
    "cost_aware": (["sampler=cost_aware"], "single"),
    "cost_aware_rungs": (["sampler=cost_aware"], "rungs"),
    "random_rungs": (["sampler=random"], "rungs"),
    "tpe_rungs": (["sampler=tpe"], "rungs"),
    "moasha": ([], "rungs"),
    "moasha_ranked": ([], "rungs"),
}
STOCK = ("nsga2_50", "nsga2_20", "tpe", "gp")  # Optuna's, which ours are compared with
OURS = ("cost_aware", "cost_aware_rungs")


class Enough(Exception):  # noqa: N818 - no error: all that is asked for was found
    """Ends a search."""


class Watch:
    """What a search has found so far, by the table's own means, and the steps that it has spent.

    Args:
        base: arch_id of the network that gains are over.
    """

    def __init__(self, table: Table, challenge: Challenge, base: str) -> None:
        top = table.facts.fidelities[-1]

        def compute_mean(name: str) -> float:
            """Return a network's mean PSNR in dB over seeds; minus infinity: none was trained."""
            curves = [dict(run.curve) for run in table.entries[name].trainings if run.curve]
            return statistics.fmean(curve[top] for curve in curves) if curves else -np.inf

        entries, baseline = table.entries, table.entries[base]
        self.gains = {name: compute_mean(name) - compute_mean(base) for name in entries}
        self.ratios = {name: entry.latency.ratio for name, entry in entries.items()}
        self.scores = {
            name: challenge.score(
                entry.latency.ratio,
                entry.cost.flops / baseline.cost.flops,
                entry.cost.params / baseline.cost.params,
            )
            for name, entry in entries.items()
        }

        # What is there to be found.
        self.gate_db = gate_db = challenge.gate.min_gain_db
        self.top = top
        self.whole = self._measure_volume(entries)
        passing = [name for name, gain in self.gains.items() if gain >= gate_db]
        self.best = min(self.scores[name] for name in passing)

        # What was found, and what it took.
        self.steps, self.trainings = 0, 0
        self.found: set[str] = set()
        self.reached: dict[str, tuple[int, int]] = {}
        self._spent: dict[int, int] = {}  # steps of each trial so far

    @contextlib.contextmanager
    def open(self, state: RunState) -> Iterator["Watch"]:
        """Watch a session: it takes this for the screen that shows it."""
        yield self

    def update(self, state: RunState, **_: Any) -> None:
        """Look at a session's records, as a screen is told to show them."""
        self.look({record.number: record for record in state.records})

    def look(self, records: Mapping[int, TrialRecord]) -> None:
        """Count what records say that was not counted yet.

        Raises:
            Enough: all that is asked for was found.
        """
        for number, record in records.items():
            steps = record.quality.fidelity if record.quality else 0
            if record.state == "failed":
                steps = self.top  # what a training that fails has taken at most
            if number == 0 or self._spent.get(number, 0) == steps:
                continue
            self.trainings += number not in self._spent
            self.steps += steps - self._spent.get(number, 0)
            self._spent[number] = steps
            if steps == self.top and record.state == "complete":
                self.found.add(record.spec.arch_id)
                self._judge_network(record.spec.arch_id)
        if {str(share) for share in SHARES} | {"score"} <= self.reached.keys():
            raise Enough

    @property
    def share(self) -> float:
        """Which share of the table's hypervolume was found."""
        return self._measure_volume(self.found) / self.whole if self.found else 0.0

    def _judge_network(self, name: str) -> None:
        share = self.share
        now = (self.steps, self.trainings)
        for threshold in SHARES:
            if share >= threshold:
                self.reached.setdefault(str(threshold), now)
        if self.gains[name] >= self.gate_db and self.scores[name] <= MAX_SCORE_RATIO * self.best:
            self.reached.setdefault("score", now)

    def _measure_volume(self, names: Sequence[str] | set[str] | Mapping[str, Any]) -> float:
        values = np.array([[-self.gains[name], self.ratios[name]] for name in names])
        return hypervolume(values, (-self.gate_db, 1.0))


def run_search(method: str, seed: int, table: str, goal: str, gate: float | None) -> Line:
    """Search a table by a method until all that is asked for was found; return its line.

    Args:
        gate: least gain in dB; None: the challenge's.
    """
    found = Table.load(find_table(table))
    setting = {"table": table, "gate": gate, "goal": goal, "method": method, "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        config = _compose_search(found, Path(folder) / "run", **setting)
        watch = Watch(found, config.goals.challenge, base=found.baseline.arch_id)

        start = time.perf_counter()
        with contextlib.suppress(Enough):
            if method in LIBRARIES:
                _run_library(config, watch, is_ranked=method == "moasha_ranked")
            else:
                SearchSession(config, render=lambda state: "", open_screen=watch.open).run()
        seconds = time.perf_counter() - start

    return {
        **setting,
        "top": watch.top,
        "members": len(found.entries),
        "reached": watch.reached,
        "steps": watch.steps,
        "trainings": watch.trainings,
        "share": watch.share,
        "seconds": seconds,
    }


def _compose_search(
    found: Table, run: Path, *, table: str, gate: float | None, goal: str, method: str, seed: int
) -> SearchConfig:
    """Return a search of the whole table by a method, which its watch ends."""
    overrides, fidelity = METHODS[method]
    challenge = {} if gate is None else {"challenge": {"gate": {"min_gain_db": gate}}}
    config = compose_search(
        *list_own_settings(table, found),
        *overrides,
        run=str(run),
        evaluator="table",
        table=table,
        scale=found.facts.scale,
        goal=goal,
        seed=seed,
        workers=1,
        ladder_seeds=_count_ladder_seeds(found),
        proxy={"steps": found.facts.fidelities[-1]},
        fidelity=_choose_rungs(found) if fidelity == "rungs" else {},
        **challenge,
    )
    return dataclasses.replace(config, budget=Budget(trials=None, hours=None))


def _run_library(config: SearchConfig, watch: Watch, *, is_ranked: bool) -> None:
    """Search with Syne Tune's method over the same evaluator."""
    placement = config.make_placement()
    backend = config.execution.backend.open(config.make_parts(placement))
    with started(backend.engine, backend.make_evaluator, placement):
        search_by_moasha(
            config.space,
            backend.make_evaluator(),
            watch.look,
            seed=config.seed,
            is_ranked=is_ranked,
        )


def _choose_rungs(found: Table) -> dict[str, Any]:
    """Return trainings that pause wherever the table was read."""
    *rungs, top = found.facts.fidelities
    return {"rungs": [steps / top for steps in rungs], "probes": 4, "least_tau": 0.5}


def _count_ladder_seeds(found: Table) -> int:
    """Count the trainings that the table holds of each of the ladder's sizes."""
    specs = [rung_spec(size, found.facts.scale) for size in found.facts.ladder_sizes]
    return min(len(found.entries[spec.arch_id].trainings) for spec in specs)


def list_own_settings(table: str, found: Table) -> list[str]:
    """Return the overrides that search a table: its challenge, if it has one, and its space."""
    challenge = [f"challenge={table}"] if catalog.exists(f"challenge/{table}") else []
    return [*challenge, *found.facts.settings["chosen_space"].split()]


def count_steps(lines: Sequence[Line], method: str, *, what: str, unit: int = 0) -> np.ndarray:
    """Return what it took until something was found, by seed; infinite where it was not.

    Args:
        what: a share of the hypervolume, such as "0.95", or "score".
        unit: 0 counts steps, 1 trainings.
    """
    own_lines = sorted(
        (line for line in lines if line["method"] == method), key=lambda line: line["seed"]
    )
    # Not reached stands last in any order.
    nowhere = (np.inf, np.inf)
    return np.array([line["reached"].get(what, nowhere)[unit] for line in own_lines], dtype=float)


def format_report(lines: Sequence[Line]) -> Iterator[str]:
    """Yield a Markdown table in trainings of full length, and ratios with their intervals."""
    yield from format_head(["method", "seeds", *GOALS, "share of the table's steps to score"])
    for method in METHODS:
        own_lines = [line for line in lines if line["method"] == method]
        if not own_lines:
            continue
        # A network trained to the end is one training, whatever its number of steps.
        top, members = own_lines[0]["top"], own_lines[0]["members"]
        cells = [format_quartiles(count_steps(lines, method, what=goal) / top, 1) for goal in GOALS]
        share = float(np.median(count_steps(lines, method, what="score"))) / top / members
        cells += [f"{share:.1%}" if np.isfinite(share) else "-"]
        yield format_row([method, len(own_lines), *cells])
    yield ""

    yield from _describe_unfinished(lines)
    for what in ("0.95", "score"):
        counts = functools.partial(count_steps, lines, what=what)
        for best, method, times in compare_with_stock(counts, STOCK, OURS):
            yield f"{what}: {best} takes {times} the steps of {method}"


def _describe_unfinished(lines: Sequence[Line]) -> Iterator[str]:
    """Yield, for each method, how far its searches came that did not find all."""
    for method in METHODS:
        short = [
            line
            for line in lines
            if line["method"] == method and set(GOALS) - line["reached"].keys()
        ]
        if short and "share" in short[0]:
            shares = format_quartiles(np.array([line["share"] for line in short]), 2)
            spent = format_quartiles(np.array([line["steps"] / line["top"] for line in short]), 1)
            came = f"{shares} of the hypervolume after {spent} trainings"
            yield f"{method}: {len(short)} seeds ended at {came}"


def main() -> None:
    parser = make_comparison_parser(__doc__, list(METHODS), "table.jsonl", only_named=LIBRARIES)
    parser.add_argument("--table", default="esr_bench_mini", help="a name or a file")
    parser.add_argument("--goal", default="front", choices=["front", "score"])
    parser.add_argument("--gate", type=float, help="least gain in dB, in place of the challenge's")
    options = parser.parse_args()
    missing = explain_missing_libraries(options.methods)
    if missing:
        parser.error(missing)

    def show_line(line: Line) -> None:
        print(line["method"], line["seed"], line["reached"], f"{line['seconds']:.0f} s", flush=True)

    setting = {"table": options.table, "goal": options.goal, "gate": options.gate}
    print("\n".join(format_report(run_missing(run_search, options, setting, show_line))))


if __name__ == "__main__":
    main()
