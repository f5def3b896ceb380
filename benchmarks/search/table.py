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
import torch

from benchmarks.search.rivals import LIBRARIES, lacking, moasha
from benchmarks.shared.comparison import parser, quartiles, ratios, run_missing
from benchmarks.shared.lines import Line
from benchmarks.shared.parts import parts_of
from nas.analysis.ladder import rung_spec
from nas.analysis.pareto import hypervolume
from nas.cli import catalog
from nas.record import TrialRecord
from nas.score import Challenge
from nas.search.asking import Asker
from nas.search.backends.base import BackendParts, OpenedBackend, ReadingParts, Rules, TrainingParts
from nas.search.backends.table import TableBackend
from nas.search.controller import Budget, Controller
from nas.search.engines.base import Placement
from nas.search.engines.tasks import started
from nas.search.fidelity.config import FidelityConfig
from nas.search.fidelity.rungs import Rungs
from nas.search.model.decisions import read_decisions
from nas.search.observer import Observer
from nas.search.seeds import derived_seed
from nas.search.store.journal import JOURNAL, open_storage
from nas.search.store.study import Study, StudyRules
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
    parts = parts_of([*own_settings(table, found), *METHODS[method][0], f"goal={goal}"])
    challenge = parts["challenge"]
    if gate is not None:
        challenge = dataclasses.replace(
            challenge, gate=dataclasses.replace(challenge.gate, min_gain_db=gate)
        )
    top, is_rungs = found.facts.fidelities[-1], METHODS[method][1] == "rungs"
    shares = [steps / top for steps in found.facts.fidelities[:-1]]
    fidelity = FidelityConfig(
        rungs=shares if is_rungs else [], probes=4 if is_rungs else 0, least_tau=0.5
    )
    seeds = min(
        len(found.entries[rung_spec(rung, 4).arch_id].trainings)
        for rung in found.facts.ladder_sizes
    )
    placement = Placement(num_workers=1, num_per_host=1)
    proxy = dataclasses.replace(parts["proxy"], steps=top)
    backend = TableBackend().open(
        BackendParts(
            run=Path("none"),
            device=torch.device("cpu"),
            placement=placement,
            seed=seed,
            scale=found.facts.scale,
            space=parts["space"],
            table=table,
            training=TrainingParts(data=parts["data"], proxy=proxy, fidelity=fidelity),
            reading=ReadingParts(latency=parts["latency"]),
            rules=Rules(challenge=challenge, limits={}, ladder_seeds=seeds),
        )
    )
    watch = Watch(found, challenge, base=backend.baseline.arch_id)
    start = time.perf_counter()
    with contextlib.suppress(Enough), started(backend.engine, backend.make_evaluator, placement):
        if method in LIBRARIES:
            is_ranked = method == "moasha_ranked"
            moasha(
                parts["space"], backend.make_evaluator(), watch.look, seed=seed, is_ranked=is_ranked
            )
        else:
            _control(backend, parts | {"challenge": challenge}, fidelity, watch, seed, seeds)
    return {
        "table": table,
        "gate": gate,
        "goal": goal,
        "method": method,
        "seed": seed,
        "top": top,
        "members": len(found.entries),
        "reached": watch.reached,
        "steps": watch.steps,
        "trainings": watch.trainings,
        "share": watch.share,
        "seconds": time.perf_counter() - start,
    }


def own_settings(table: str, found: Table) -> list[str]:
    """What `nas search` is told to search a table: its challenge, where it has one, and its space."""
    own = [f"challenge={table}"] if catalog.exists(f"challenge/{table}") else []
    return [*own, *found.facts.settings["chosen_space"].split()]


def _control(
    backend: OpenedBackend,
    parts: Mapping[str, Any],
    fidelity: FidelityConfig,
    watch: Watch,
    seed: int,
    ladder_seeds: int,
) -> None:
    """Search as `nas search` does, until the watch has seen enough."""
    with tempfile.TemporaryDirectory() as folder:
        study = Study(
            open_storage(Path(folder) / JOURNAL),
            StudyRules(
                objectives=("psnr_gain_db", "runtime_ratio"),
                limits={},
                challenge=parts["challenge"],
                baseline=backend.baseline,
                ladder_sizes=backend.ladder_sizes,
                ladder_seeds=ladder_seeds,
                num_probes=fidelity.probes,
                planned_trials=200,
            ),
            read_decisions(parts["space"]),
        )
        asker = Asker(
            study,
            parts["space"],
            parts["sampler"],
            Observer(parts["space"], goal=parts["goal"], seed=derived_seed(seed, "pool")),
            Rungs(fidelities=backend.fidelities, probes=study.probes, least_tau=fidelity.least_tau),
            seed=seed,
        )
        Controller(
            asker,
            backend.engine,
            Budget(trials=len(watch.gains), hours=None),
            has_test=False,
            show=lambda running, left: None,
            changed=lambda: watch.look(study.records),
            clock=backend.clock,
        ).run()


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
