"""The loop of a search: baseline, ladder, trials, and the reading of the test set at the end."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from nas.analysis.convergence import has_plateaued
from nas.analysis.results import front_table, table
from nas.record import Quality, TrialRecord
from nas.search.engines.base import Engine, Result, Task
from nas.search.engines.tasks import Retries, run_tasks
from nas.search.evaluation.requests import TrialRequest
from nas.search.ledger import Exhausted, Ledger, Proposal

DEFAULT_TRIALS = 22
MAX_DOUBT = 0.45  # a probability further from a half is no doubt


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """When a search ends: after so many counted trials, so many hours of this session, or both.

    stop: plateau: also where the front has stopped growing (`nas.analysis.convergence`). confirm: how many
    rows whose place on the front is in doubt are then measured and trained with another seed.
    """

    trials: int | None
    hours: float | None
    stop: Literal["plateau"] | None = None
    confirm: int = 0

    def __post_init__(self) -> None:
        if self.trials is not None and self.trials < 1:
            raise ValueError(f"trials must be at least 1, got {self.trials}")
        if self.confirm < 0:
            raise ValueError(f"confirm must be at least 0, got {self.confirm}")
        if self.hours is not None and not self.hours > 0:
            raise ValueError(f"hours must be above 0, got {self.hours}")

    @classmethod
    def of(
        cls, trials: int | None, hours: float | None, stop: Literal["plateau"] | None, confirm: int
    ) -> "Budget":
        """What the user gave; with nothing that ends a search, the default number of trials."""
        if trials is None and hours is None and stop is None:
            trials = DEFAULT_TRIALS
        return cls(trials=trials, hours=hours, stop=stop, confirm=confirm)


class Controller:
    """Keeps every worker busy until the budget is spent; every result goes to the ledger at once.

    Args:
        show: called with the number of each trial that runs and what is done for it, often.
        changed: called after every record, to rewrite the run's files.
        clock: seconds, of which the budget's hours are made.
    """

    def __init__(
        self,
        ledger: Ledger,
        engine: Engine,
        budget: Budget,
        *,
        has_test: bool,
        show: Callable[[dict[int, str], float | None], None],
        changed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ledger = ledger
        self.engine = engine
        self.budget = budget
        self.has_test = has_test
        self.show = show
        self.changed = changed
        self.clock = clock
        self.start = clock()

    def run(self) -> str:
        """Search; gives the reason why it ended, in words.

        Raises:
            ValueError: the baseline or the ladder cannot be evaluated at all.
        """
        self._prepare()
        reason = self._search()
        if self.budget.confirm:
            self._confirm(self.budget.confirm)
        if self.has_test:
            self._read_test()
        return reason

    def seconds_left(self) -> float | None:
        """Time until the budget is spent at the pace so far; None while there is none to speak of."""
        elapsed = self.clock() - self.start
        left = [] if self.budget.hours is None else [self.budget.hours * 3600 - elapsed]
        done = self.ledger.num_counted - self._num_before
        if self.budget.trials is not None and done > 0:
            pace = (self.clock() - self._trials_start) / done
            left.append(pace * max(0, self.budget.trials - self.ledger.num_counted))
        return min(left) if left else None

    _exhausted = ""  # why no new architecture is left, in words
    _judged = 0
    _num_before = 0
    _trials_start = 0.0

    def _prepare(self) -> None:
        """Measure the baseline and climb the ladder, as far as earlier sessions have not done it."""
        measured: list[Any] = []
        if 0 not in self.ledger.records:
            self._work([Task(key="baseline", method="baseline", args=())], lambda o: measured.append(o.value))
        seen = {(run.rung, run.seed) for run in self.ledger.ladder}
        jobs = [
            Task(key=f"ladder {rung} seed {seed}", method="ladder_run", args=(rung, seed))
            for seed in range(self.ledger.ladder_seeds)
            for rung in reversed(self.ledger.rungs)
            if (rung, seed) not in seen
        ]
        self._work(jobs, self._add_ladder_run)
        if measured:
            cost, latency = measured[0]
            self.ledger.set_baseline(
                TrialRecord(
                    number=0,
                    state="complete",
                    spec=self.ledger.baseline,
                    cost=cost,
                    latency=latency,
                    quality=self._reference_quality(),
                )
            )
            self.changed()

    def _add_ladder_run(self, result: Result) -> None:
        self.ledger.add_ladder_run(result.value)
        self.changed()

    def _reference_quality(self) -> Quality:
        """Row 0's PSNR: the mean over the seeds of the ladder's last rung, which is the baseline."""
        runs = [run for run in self.ledger.ladder if run.rung == self.ledger.rungs[-1]]
        return Quality(
            psnr_db=sum(run.psnr_db for run in runs) / len(runs),
            base_db=runs[0].base_db,
            fidelity=runs[0].fidelity,
            train_seconds=sum(run.train_seconds for run in runs),
            restarts=0,
            seeds=tuple(run.psnr_db for run in runs) if len(runs) > 1 else (),
            curve=tuple(sorted(self.ledger.references.items())) if runs[0].curve else (),
        )

    def _work(self, jobs: Iterable[Task], take: Callable[[Result], None]) -> None:
        """Do jobs that have to succeed."""
        for result in run_tasks(self.engine, jobs, tick=lambda: self.show({}, self.seconds_left())):
            if result.error:
                raise ValueError(f"{result.task.key} failed: {result.error}")
            take(result)

    def _search(self) -> str:
        ledger, engine = self.ledger, self.engine
        self._num_before, self._trials_start = ledger.num_counted, self.clock()
        retries = Retries()
        waiting = ledger.pending  # what a kill interrupted
        running: dict[str, Proposal] = {}
        control: dict[str, float] = {}  # seconds that went by for choosing what runs
        reason = ""
        while True:
            reason = reason or self._spent()
            while engine.idle and (waiting or not reason):  # what has a number is finished in any case
                start = time.perf_counter()
                proposal = waiting.pop(0) if waiting else self._next(running)
                if proposal is None:
                    break
                running[str(proposal.number)] = proposal
                job = self._job(proposal)
                control[job.key] = control.get(job.key, 0.0) + time.perf_counter() - start
                engine.submit(job)
            if not running:
                return reason or self._exhausted or f"{ledger.num_counted} trials done"
            for result in engine.results(0.2):
                proposal = running.pop(result.task.key)
                if retries.may_retry(result):
                    waiting.insert(0, proposal)
                    continue
                record = result.value or _failed(proposal, result.error)
                ledger.record(proposal, record.plus(control=control.pop(result.task.key)))
                self.changed()
            self.show({int(key): words for key, words in engine.doing.items()}, self.seconds_left())

    def _next(self, running: Mapping[str, Proposal]) -> Proposal | None:
        """A training that goes on, or a new one; None: there is nothing to do but to wait, or to end."""
        new = sum(proposal.record is None for proposal in running.values())
        wants_new = self.budget.trials is None or self.ledger.num_counted + new < self.budget.trials
        wants_new = wants_new and not self._exhausted
        if (promoted := self.ledger.promotion(is_last=not wants_new)) is not None:
            return promoted
        if wants_new:
            try:
                return self.ledger.propose()
            except Exhausted as end:
                self._exhausted = f"{end}; the search ends"
                return self.ledger.promotion(is_last=True)
        return None

    def _request(self, proposal: Proposal) -> TrialRequest:
        reference_db = self.ledger.references.get(self.ledger.fidelities[-1])
        parent = None if proposal.inherits is None else self.ledger.records[proposal.inherits].spec
        return TrialRequest(
            number=proposal.number,
            spec=proposal.spec,
            until=proposal.until,
            reference_db=reference_db,
            inherits=proposal.inherits,
            parent=parent,
        )

    def _job(self, proposal: Proposal) -> Task:
        key, request = str(proposal.number), self._request(proposal)
        if proposal.record is not None:
            return Task(key=key, method="advance", args=(request, proposal.record))
        return Task(key=key, method="trial", args=(request, self.ledger.screen(proposal)))

    def _spent(self) -> str:
        if self.budget.hours is not None and self.clock() - self.start >= self.budget.hours * 3600:
            return f"{self.budget.hours:g} hours are over"
        if self.budget.stop == "plateau" and self.ledger.num_counted > self._judged:
            self._judged = self.ledger.num_counted  # at each trial once
            if has_plateaued(self.ledger.now):
                return "the front's hypervolume has stopped growing (stop=plateau)"
        return ""

    def _confirm(self, count: int) -> None:
        """Train again, with other seeds, the rows of which it is least sure whether they are on the front."""
        rows = table(self.ledger.now)
        doubt = (rows["front_probability"] - 0.5).abs()
        unsure = rows[(doubt < MAX_DOUBT) & (rows["psnr_seeds"] == 1)].assign(doubt=doubt)
        unsure = unsure.sort_values(["doubt", "number"], kind="stable").head(count)
        proposals = {str(number): self.ledger.again(int(number)) for number in unsure["number"]}
        jobs = [
            Task(key=key, method="confirm", args=(self._request(one), one.record))
            for key, one in proposals.items()
        ]

        def take(result: Result) -> None:
            self.ledger.record(proposals[result.task.key], result.value)
            self.changed()

        self._work(jobs, take)

    def _read_test(self) -> None:
        """Read the test set once for each front member that has not been read."""
        state = self.ledger.now
        known = dict(state.test_psnr_db)
        members = [int(number) for number in front_table(table(state))["number"]]
        records = [self.ledger.records[number] for number in members]
        jobs = [
            Task(key=f"test {record.number}", method="read_test", args=(record.spec,))
            for record in records
            if record.spec.arch_id not in known
        ]

        def take(result: Result) -> None:
            known[result.task.args[0].arch_id] = result.value

        self._work(jobs, take)
        self.ledger.set_test_psnr(known)
        self.changed()


def _failed(proposal: Proposal, error: str) -> TrialRecord:
    """Its process died too often, or it ended in an error of no kind; what was measured is kept."""
    known = proposal.record or TrialRecord(number=proposal.number, state="failed", spec=proposal.spec)
    return replace(known, state="failed", quality=None, error=error)
