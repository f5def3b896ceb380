"""Evaluations looked up in a table, and a pool of workers in simulated time that does them."""

import dataclasses
import heapq
from collections.abc import Iterator

from nas.analysis.ladder import LadderRun, rung_spec
from nas.record import Cost, Latency, Quality, TrialRecord
from nas.score import Challenge
from nas.search.evaluation.tasks import Task, Tell
from nas.search.evaluation.workers import Job, Outcome
from nas.search.screening import Screen, why_rejected
from nas.search.seeds import derived_seed
from nas.search.table.table import Entry, Run, Table
from search_spaces.spec import ArchSpec


class TableEvaluator:
    """What a table knows, as if it were measured and trained; `seconds` is what the last call would take.

    Args:
        fidelities: steps at which trainings are read, among the table's.
        seed: of the run: says which of a member's trainings a trial gets.
    """

    def __init__(
        self,
        table: Table,
        *,
        fidelities: tuple[int, ...],
        challenge: Challenge,
        limits: dict[str, float],
        seed: int,
    ) -> None:
        self.table = table
        self.fidelities = fidelities
        self.challenge = challenge
        self.limits = limits
        self.seed = seed
        self.reference = rung_spec(table.facts.rungs[-1], table.facts.scale)
        self.seconds = 0.0

    def baseline(self, tell: Tell) -> tuple[Cost, Latency]:
        cost, latency, _ = self.measure(self.reference, tell)
        return cost, latency

    def measure(self, spec: ArchSpec, tell: Tell) -> tuple[Cost, Latency, float]:
        entry = self._entry(spec)
        self.seconds = entry.measure_seconds
        return entry.cost, entry.latency, self.seconds

    def ladder_run(self, rung: str, seed: int, tell: Tell) -> LadderRun:
        runs = self._entry(rung_spec(rung, self.table.facts.scale)).runs
        return LadderRun.of(rung, seed, self._quality(runs[seed], self.fidelities[-1], 0))

    def train(self, spec: ArchSpec, seed: int, reference_db: float | None, tell: Tell) -> Quality:
        return self._quality(self._entry(spec).runs[seed], self.fidelities[-1], 0)

    def trial(self, task: Task, screen: Screen | None, tell: Tell) -> TrialRecord:
        entry, self.seconds = self._entry(task.spec), 0.0
        base = self._entry(self.reference).cost
        record = TrialRecord(number=task.number, state="failed", spec=task.spec, cost=entry.cost)
        for known in (record, dataclasses.replace(record, latency=entry.latency)):
            if known.latency:
                self.seconds += entry.measure_seconds
                known = known.plus(measure=entry.measure_seconds)
            if why := why_rejected(known, self.limits, screen, self.challenge, base):
                return dataclasses.replace(known, state="rejected", error=why)
        measured = self.seconds
        record = self.advance(task, known, tell)
        self.seconds += measured
        return record

    def advance(self, task: Task, record: TrialRecord, tell: Tell) -> TrialRecord:
        runs = self._entry(task.spec).runs
        run = runs[self._first(task.spec)]
        before = record.quality.fidelity if record.quality else 0
        if run.error:
            self.seconds = run.train_seconds
            return dataclasses.replace(record, state="failed", quality=None, error=run.error)
        return dataclasses.replace(record, state="complete", quality=self._quality(run, task.until, before))

    def confirm(self, task: Task, record: TrialRecord, tell: Tell) -> TrialRecord:
        """With the member's next training, where the table holds another."""
        assert record.quality
        runs = self._entry(task.spec).runs
        again = len(record.quality.seeds or (0,))
        run = runs[(self._first(task.spec) + again) % len(runs)]
        self.seconds = 0.0
        if again >= len(runs) or run.error:
            return record
        quality = record.quality.with_seed(self._quality(run, task.until, 0))
        return dataclasses.replace(record, quality=quality)

    def read_test(self, spec: ArchSpec, tell: Tell) -> float:
        raise ValueError("a table holds no test set")

    def _first(self, spec: ArchSpec) -> int:
        """Which of a member's trainings a trial gets."""
        return derived_seed(self.seed, "table", spec.arch_id) % len(self._entry(spec).runs)

    def _entry(self, spec: ArchSpec) -> Entry:
        return self.table.entries[spec.arch_id]

    def _quality(self, run: Run, until: int, before: int) -> Quality:
        """What a training has reached at `until`; takes what it takes from `before` on."""
        a_step = run.train_seconds / self.table.facts.fidelities[-1]
        self.seconds = (until - before) * a_step
        curve = tuple(
            (steps, psnr) for steps, psnr in run.curve if steps in self.fidelities and steps <= until
        )
        return Quality(
            psnr_db=curve[-1][1],
            base_db=self.table.facts.base_db,
            fidelity=until,
            train_seconds=until * a_step,
            restarts=run.restarts,
            curve=curve if len(self.fidelities) > 1 else (),
        )


class Simulation:
    """A pool as `Workers` is one, whose jobs take simulated seconds."""

    def __init__(self, evaluator: TableEvaluator, *, count: int) -> None:
        self.evaluator = evaluator
        self.count = count
        self.now = 0.0
        self._running: list[tuple[float, int, Outcome]] = []  # by the time at which they end
        self._submitted = 0

    @property
    def idle(self) -> int:
        return self.count - len(self._running)

    @property
    def doing(self) -> dict[str, str]:
        return {outcome.job.key: f"until second {end:.0f}" for end, _, outcome in self._running}

    def submit(self, job: Job) -> None:
        result = getattr(self.evaluator, job.method)(*job.args, _say_nothing)
        end = self.now + self.evaluator.seconds
        self._submitted += 1
        heapq.heappush(self._running, (end, self._submitted, Outcome(job=job, result=result)))

    def outcomes(self, timeout: float) -> Iterator[Outcome]:
        """What ends next; the clock goes on to its end."""
        if self._running:
            self.now, _, outcome = heapq.heappop(self._running)
            yield outcome


def _say_nothing(words: str) -> None:
    """Nobody watches a table being read."""
