"""Search methods on a table: training steps until a share of its hypervolume, and until its best score.

    python benchmarks/search/table.py [METHOD ...] [--table esr_bench_mini] [--goal front] [--seeds 10]

Every method is a real search of `nas search evaluator=table`: its sampler, its study, its rungs, one worker;
but moasha, which is Syne Tune's (benchmarks/search/rivals.py), is run only where it is named.
A network counts once it was trained to the end, with the table's mean over seeds; the ladder's steps, which
all methods pay alike, are left out. The hypervolume lies between the gate's gain (with --gate, another one)
and the baseline's runtime; `score` is the first network that passes the gate with a score within 1 % of the
table's best. Lines are appended to the results file as they come, and what is there is not run again.
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

from benchmarks.search.rivals import LIBRARIES, lacking, moasha
from benchmarks.shared.comparison import parser, quartiles, ratios, run_missing
from benchmarks.shared.lines import Line
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
WITHIN = 1.01  # of the best score
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
STOCK = ("nsga2_50", "nsga2_20", "tpe", "gp")
OURS = ("cost_aware", "cost_aware_rungs")


class Enough(Exception):  # noqa: N818 - no error: all that is asked for was found
    """Ends a search."""


class Watch:
    """What a search has found so far, by the table's own means, and the steps that it has spent."""

    def __init__(self, table: Table, challenge: Challenge, base: str) -> None:
        top = table.facts.fidelities[-1]

        def reached(name: str) -> float:
            curves = [dict(run.curve) for run in table.entries[name].trainings if run.curve]
            return statistics.fmean(curve[top] for curve in curves) if curves else -np.inf

        entries, baseline = table.entries, table.entries[base]
        self.gains = {name: reached(name) - reached(base) for name in entries}
        self.ratios = {name: entry.latency.ratio for name, entry in entries.items()}
        self.scores = {
            name: challenge.score(
                entry.latency.ratio,
                entry.cost.flops / baseline.cost.flops,
                entry.cost.params / baseline.cost.params,
            )
            for name, entry in entries.items()
        }
        self.gate_db = gate_db = challenge.gate.min_gain_db
        self.top = top
        self.whole = self._volume(entries)
        passing = [name for name, gain in self.gains.items() if gain >= gate_db]
        self.best = min(self.scores[name] for name in passing)
        self.steps, self.trainings = 0, 0
        self.found: set[str] = set()
        self.reached: dict[str, tuple[int, int]] = {}
        self._spent: dict[int, int] = {}

    @contextlib.contextmanager
    def open(self, state: RunState) -> Iterator["Watch"]:
        """Watch a session: it takes this for the screen that shows it."""
        yield self

    def update(self, state: RunState, **_: Any) -> None:
        self.look({record.number: record for record in state.records})

    def look(self, records: Mapping[int, TrialRecord]) -> None:
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
                self._judge(record.spec.arch_id)
        if {str(share) for share in SHARES} | {"score"} <= self.reached.keys():
            raise Enough

    @property
    def share(self) -> float:
        """Of the table's hypervolume, what was found."""
        return self._volume(self.found) / self.whole if self.found else 0.0

    def _judge(self, name: str) -> None:
        share = self.share
        now = (self.steps, self.trainings)
        for wanted in SHARES:
            if share >= wanted:
                self.reached.setdefault(str(wanted), now)
        if self.gains[name] >= self.gate_db and self.scores[name] <= WITHIN * self.best:
            self.reached.setdefault("score", now)

    def _volume(self, names: Sequence[str] | set[str] | Mapping[str, Any]) -> float:
        values = np.array([[-self.gains[name], self.ratios[name]] for name in names])
        return hypervolume(values, (-self.gate_db, 1.0))


def search(method: str, seed: int, table: str, goal: str, gate: float | None) -> Line:
    """One line of the results."""
    found = Table.load(find_table(table))
    overrides, fidelity = METHODS[method]
    challenge = {} if gate is None else {"challenge": {"gate": {"min_gain_db": gate}}}
    with tempfile.TemporaryDirectory() as folder:
        config = compose_search(
            *own_settings(table, found),
            *overrides,
            run=f"{folder}/run",
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
        # A search of the whole table, which the watch ends.
        config = dataclasses.replace(config, budget=Budget(trials=None, hours=None))
        watch = Watch(found, config.goals.challenge, base=found.baseline.arch_id)
        start = time.perf_counter()
        with contextlib.suppress(Enough):
            if method in LIBRARIES:
                _run_library(config, watch, is_ranked=method == "moasha_ranked")
            else:
                SearchSession(config, render=lambda state: "", open_screen=watch.open).run()
        seconds = time.perf_counter() - start
    return {
        "table": table,
        "gate": gate,
        "goal": goal,
        "method": method,
        "seed": seed,
        "top": watch.top,
        "members": len(found.entries),
        "reached": watch.reached,
        "steps": watch.steps,
        "trainings": watch.trainings,
        "share": watch.share,
        "seconds": seconds,
    }


def _run_library(config: SearchConfig, watch: Watch, *, is_ranked: bool) -> None:
    """Search with Syne Tune's method over the same evaluator."""
    placement = config.make_placement()
    backend = config.execution.backend.open(config.make_parts(placement))
    with started(backend.engine, backend.make_evaluator, placement):
        moasha(
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


def own_settings(table: str, found: Table) -> list[str]:
    """What `nas search` is told to search a table: its challenge, where it has one, and its space."""
    own = [f"challenge={table}"] if catalog.exists(f"challenge/{table}") else []
    return [*own, *found.facts.settings["chosen_space"].split()]


def steps_to(
    lines: Sequence[Mapping[str, Any]], method: str, *, what: str, unit: int = 0
) -> np.ndarray:
    """Steps (unit 0) or trainings (1) until something was found, by seed; infinite where it was not."""
    mine = sorted(
        (line for line in lines if line["method"] == method), key=lambda line: line["seed"]
    )
    return np.array(
        [line["reached"].get(what, (np.inf, np.inf))[unit] for line in mine], dtype=float
    )


def report(lines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A Markdown table in trainings of full length, and ratios with their bootstrap intervals."""
    wanted = [*map(str, SHARES), "score"]
    yield f"| method | seeds | {' | '.join(wanted)} | share of the table's steps to score |"
    yield "|" + "---|" * (len(wanted) + 3)
    for method in METHODS:
        mine = [line for line in lines if line["method"] == method]
        if mine:
            top, members = mine[0]["top"], mine[0]["members"]
            cells = [quartiles(steps_to(lines, method, what=what) / top, 1) for what in wanted]
            share = float(np.median(steps_to(lines, method, what="score"))) / top / members
            shown = f"{share:.1%}" if np.isfinite(share) else "-"
            yield f"| {method} | {len(mine)} | {' | '.join(cells)} | {shown} |"
    yield ""
    for method in METHODS:
        short = [
            line
            for line in lines
            if line["method"] == method and set(wanted) - line["reached"].keys()
        ]
        if short and "share" in short[0]:
            shares = quartiles(np.array([line["share"] for line in short]), 2)
            spent = quartiles(np.array([line["steps"] / line["top"] for line in short]), 1)
            yield f"{method}: {len(short)} seeds ended at {shares} of the hypervolume after {spent} trainings"
    for what in ("0.95", "score"):
        counts = functools.partial(steps_to, lines, what=what)
        for best, method, times in ratios(counts, STOCK, OURS):
            yield f"{what}: {best} takes {times} the steps of {method}"


def main() -> None:
    asked = parser(__doc__, list(METHODS), "table.jsonl", only_named=LIBRARIES)
    asked.add_argument("--table", default="esr_bench_mini")
    asked.add_argument("--goal", default="front", choices=["front", "score"])
    asked.add_argument("--gate", type=float, help="least gain in dB, in place of the challenge's")
    options = asked.parse_args()
    if lacks := lacking(options.methods):
        asked.error(lacks)
    setting = {"table": options.table, "goal": options.goal, "gate": options.gate}

    def show(line: Line) -> None:
        print(line["method"], line["seed"], line["reached"], f"{line['seconds']:.0f} s", flush=True)

    print("\n".join(report(run_missing(search, options, setting, show))))


if __name__ == "__main__":
    main()
