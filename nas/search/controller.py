"""The loop of a search: baseline, ladder, trials, and the reading of the test set at the end."""

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from nas.analysis.convergence import has_plateaued
from nas.analysis.results import front_table, table
from nas.record import Quality, TrialRecord
from nas.search.asking import Asker, Exhausted
from nas.search.config import Budget
from nas.search.engines.base import Engine, Result, Task
from nas.search.engines.tasks import (
    MAX_RETRIES,
    POLL_SECONDS,
    Dispatcher,
    keep_each,
    run_batches,
    run_tasks,
)
from nas.search.evaluation.requests import TrialRequest
from nas.search.longer.base import LongerLadder
from nas.search.longer.climbing import climb_longer
from nas.search.store.trials import OpenTrial
from nas.system.faults import MachineError

MAX_DOUBT = 0.45  # a probability further from a half is no doubt


class Controller:
    """Keeps every worker busy until the budget is spent: ask, run, tell.

    Args:
        asker: says what is evaluated next; its study is told every result at once.
        engine: runs the evaluations; it has been started.
        has_test: whether the front members are read on the test set at the end.
        longer: the ladder's sizes, trained longer; None: that is not asked for.
        show: called often, with the number of each trial that runs and what is done for it, and the
            seconds that are left.
        changed: called after every record, to rewrite the run's files.
        notify: called with what the user is to be told, a sentence each.
        clock: seconds, of which the budget's hours are made.
    """

    def __init__(
        self,
        asker: Asker,
        engine: Engine,
        budget: Budget,
        *,
        has_test: bool,
        longer: LongerLadder | None = None,
        show: Callable[[dict[int, str], float | None], None],
        changed: Callable[[], None],
        notify: Callable[[str], None] = lambda sentence: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.asker = asker
        self.study = asker.study
        self.engine = engine
        self.budget = budget
        self.has_test = has_test
        self.longer = longer
        self.show = show
        self.changed = changed
        self.notify = notify
        self.clock = clock
        self.start = clock()
        self._exhausted = ""  # why no new architecture is left, in words
        self._num_judged = 0  # counted trials at which the plateau was last looked for
        self._num_before = 0  # counted trials of earlier sessions
        self._trials_start = self.start

    def run(self) -> str:
        """Search; return the reason why it ended, in words.

        Raises:
            ValueError: the baseline or the ladder cannot be evaluated at all.
            MachineError: a fault of the machine took one task again and again.
        """
        self._prepare()
        reason = self._search()
        if self.budget.confirm:
            self._confirm(self.budget.confirm)
        if self.has_test:
            self._read_test()
        return reason

    def seconds_left(self) -> float | None:
        """Return the time until the budget is spent at the pace so far.

        None: there is no pace yet.
        """
        elapsed = self.clock() - self.start
        left = [] if self.budget.hours is None else [self.budget.hours * 3600 - elapsed]
        num_done = self.study.num_counted - self._num_before
        if self.budget.trials is not None and num_done > 0:
            pace = (self.clock() - self._trials_start) / num_done
            left.append(pace * max(0, self.budget.trials - self.study.num_counted))
        return min(left) if left else None

    def _search(self) -> str:
        """Ask, run and tell until the budget is spent; return the reason in words.

        Raises:
            MachineError: a fault of the machine took one trial again and again; it stays open.
        """
        self._num_before, self._trials_start = self.study.num_counted, self.clock()
        waiting = self._list_waiting()
        running: dict[str, OpenTrial] = {}
        asking_seconds: dict[str, float] = {}
        dispatcher = Dispatcher(self.engine)
        reason = ""

        while True:
            # Ask, while anybody is idle; what has a number is evaluated in any case.
            reason = reason or self._find_end()
            while dispatcher.takes_more and (waiting or not reason):
                start = time.perf_counter()
                trial = waiting.pop(0) if waiting else self._ask(running)
                if trial is None:
                    break
                running[str(trial.number)] = trial
                task = self._make_task(trial)
                asking_seconds[task.key] = time.perf_counter() - start
                dispatcher.submit(task, alone=trial.number in self.study.suspects)
            if not running:
                return reason or self._exhausted or f"{self.study.num_counted} trials done"

            # Tell what has ended.
            batch = list(dispatcher.results(POLL_SECONDS))
            keep_each(batch, lambda result: self._tell(running, result, asking_seconds))
            self.show(
                {int(key): words for key, words in self.engine.doing.items()}, self.seconds_left()
            )

    def _list_waiting(self) -> list[OpenTrial]:
        """List what an earlier session left open; first what may have ended it, to run alone."""
        study = self.study
        paused = study.list_paused(self.asker.rungs.fidelities[-1])
        waiting = [study.resume(number) for number in study.suspects if number in paused]
        waiting += study.pending
        return sorted(waiting, key=lambda trial: (trial.number not in study.suspects, trial.number))

    def _tell(
        self, running: dict[str, OpenTrial], result: Result, asking_seconds: dict[str, float]
    ) -> None:
        """Write what came out of a trial.

        Raises:
            MachineError: as far as is known the machine is to blame; the trial stays open.
        """
        if result.is_lost:  # nothing else runs by now: its last try was alone
            error = self._judge_fault(running[result.task.key], result)
            result = replace(result, died=False, fault="architecture", error=error)
        trial = running.pop(result.task.key)
        self._pass_notices(result, f"trial {trial.number}")
        record = result.value or _make_failed_record(trial, result.error)
        self.study.tell(trial, record.plus(control=asking_seconds.pop(result.task.key)))
        self.changed()

    def _judge_fault(self, trial: OpenTrial, result: Result) -> str:
        """Return the error of a network that is to blame for what the machine did to its worker.

        It is to blame where it ended an earlier session so, and other networks go through.

        Raises:
            MachineError: as far as is known the machine is to blame.
        """
        if trial.number not in self.study.suspects:
            self.study.suspect(trial.number, result.error)
            raise MachineError(_describe_fault(f"trial {trial.number}", result))
        for other in run_tasks(self.engine, self._list_controls()):
            if other.error:
                raise MachineError(_describe_fault(f"trial {trial.number}", result))
        return f"{result.error} (at every try of two sessions, while other networks go through)"

    def _list_controls(self) -> list[Task]:
        """List what a machine that is well does: read the baseline, train the smallest network."""
        smallest = self.study.ladder_sizes[0]
        return [
            Task(key="control baseline", method="baseline", args=()),
            Task(key=f"control {smallest}", method="ladder_run", args=(smallest, 0)),
        ]

    def _pass_notices(self, result: Result, what: str) -> None:
        """Tell the user what an evaluator noted."""
        for notice in result.notices:
            self.notify(f"{what}: {notice}")

    def _ask(self, running: Mapping[str, OpenTrial]) -> OpenTrial | None:
        """Return a training that goes on, or a new one.

        None: nothing is left but to wait, or to end.
        """
        num_new = sum(trial.record is None for trial in running.values())
        wants_new = (
            self.budget.trials is None or self.study.num_counted + num_new < self.budget.trials
        )
        wants_new = wants_new and not self._exhausted

        if (resumed := self.asker.resume(is_last=not wants_new)) is not None:
            return resumed
        if not wants_new:
            return None
        try:
            return self.asker.ask()
        except Exhausted as end:
            self._exhausted = f"{end}; the search ends"
            return self.asker.resume(is_last=True)

    def _find_end(self) -> str:
        """Return why no new trial is started, in words; empty: there is time left."""
        budget = self.budget
        if budget.hours is not None and self.clock() - self.start >= budget.hours * 3600:
            return f"{budget.hours:g} hours are over"
        if budget.stop == "plateau" and self.study.num_counted > self._num_judged:
            self._num_judged = self.study.num_counted  # at each trial once
            if has_plateaued(self.study.state):
                return "the front's hypervolume has stopped growing (stop=plateau)"
        return ""

    def _make_task(self, trial: OpenTrial) -> Task:
        request = self._make_request(trial, self.asker.find_stop(trial))
        if trial.record is not None and trial.record.state == "complete":
            return Task(key=str(trial.number), method="advance", args=(request, trial.record))
        return Task(
            key=str(trial.number), method="trial", args=(request, self.asker.make_screen(trial))
        )

    def _make_request(self, trial: OpenTrial, until: int) -> TrialRequest:
        return TrialRequest(
            number=trial.number,
            spec=trial.spec,
            until=until,
            reference_db=self.study.state.yardstick.references.get(self.asker.rungs.fidelities[-1]),
            inherits=trial.inherits,
            parent=None if trial.inherits is None else self.study.records[trial.inherits].spec,
        )

    # Before and after the trials.

    def _prepare(self) -> None:
        """Measure the baseline and climb the ladder, as far as that was not done yet."""
        study, measured = self.study, list[Any]()
        if 0 not in study.records:
            task = Task(key="baseline", method="baseline", args=())
            self._work([task], lambda result: measured.append(result.value))

        done = {(run.rung, run.seed) for run in study.ladder}
        tasks = [
            Task(key=f"ladder {size} seed {seed}", method="ladder_run", args=(size, seed))
            for seed in range(study.rules.ladder_seeds)
            for size in reversed(study.ladder_sizes)
            if (size, seed) not in done
        ]

        def add_run(result: Result) -> None:
            study.add_ladder_run(result.value)
            self.changed()

        self._work(tasks, add_run)

        # Row 0 comes last: its PSNR is the ladder's.
        if measured:
            cost, latency = measured[0]
            study.set_baseline(
                TrialRecord(
                    number=0,
                    state="complete",
                    spec=study.rules.baseline,
                    cost=cost,
                    latency=latency,
                    quality=self._average_baseline_runs(),
                )
            )
            self.changed()

        if self.longer is not None:
            climb_longer(
                study,
                self.longer,
                num_workers=self.engine.idle,
                work=functools.partial(self._work, may_fail=True),
                notify=self.notify,
                changed=self.changed,
            )

    def _average_baseline_runs(self) -> Quality:
        """Return row 0's PSNR: the mean over seeds of the ladder's last size, the baseline."""
        runs = [run for run in self.study.ladder if run.rung == self.study.ladder_sizes[-1]]
        references = self.study.state.yardstick.references
        return Quality(
            psnr_db=sum(run.psnr_db for run in runs) / len(runs),
            base_db=runs[0].base_db,
            fidelity=runs[0].fidelity,
            train_seconds=sum(run.train_seconds for run in runs),
            restarts=0,
            seeds=tuple(run.psnr_db for run in runs) if len(runs) > 1 else (),
            curve=tuple(sorted(references.items())) if runs[0].curve else (),
        )

    def _confirm(self, count: int) -> None:
        """Train the rows again whose place on the front is least sure, with other seeds."""
        rows = table(self.study.state)
        rows = rows.assign(doubt=(rows["front_probability"] - 0.5).abs())
        unsure = rows[(rows["doubt"] < MAX_DOUBT) & (rows["psnr_seeds"] == 1)]
        unsure = unsure.sort_values(["doubt", "number"], kind="stable").head(count)

        trials = {str(number): self.study.resume(int(number)) for number in unsure["number"]}
        full_steps = self.asker.rungs.fidelities[-1]
        tasks = [
            Task(
                key=key,
                method="confirm",
                args=(self._make_request(trial, full_steps), trial.record),
            )
            for key, trial in trials.items()
        ]

        # Where the second training fails, the first one stands.
        def tell(result: Result) -> None:
            trial = trials[result.task.key]
            record = result.value or trial.record
            assert record
            self.study.tell(trial, record)
            self.changed()

        self._work(tasks, tell, may_fail=True)

    def _read_test(self) -> None:
        """Read the test set once for each front member that has not been read."""
        state = self.study.state
        test_psnr_db = dict(state.test_psnr_db)
        members = [int(number) for number in front_table(table(state))["number"]]
        records = [self.study.records[number] for number in members]
        tasks = [
            Task(key=f"trial {record.number}", method="read_test", args=(record.spec,))
            for record in records
            if record.spec.arch_id not in test_psnr_db
        ]

        # Each is kept as it comes; what cannot be read leaves its field empty.
        def set_test_psnr(result: Result) -> None:
            if result.value is not None:
                test_psnr_db[result.task.args[0].arch_id] = result.value
                self.study.set_test_psnr(test_psnr_db)

        self._work(tasks, set_test_psnr, may_fail=True)
        self.changed()

    def _work(
        self, tasks: Iterable[Task], keep: Callable[[Result], None], *, may_fail: bool = False
    ) -> None:
        """Run tasks and keep their results.

        Args:
            may_fail: whether a task whose network is to blame is told and kept without a value.
        Raises:
            ValueError: a network is to blame and may not be.
            MachineError: a fault of the machine took one task again and again.
        """

        def judge(result: Result) -> None:
            self._pass_notices(result, result.task.key)
            if result.is_lost:
                raise MachineError(_describe_fault(result.task.key, result))
            if result.error and not may_fail:
                raise ValueError(f"{result.task.key} failed: {result.error}")
            if result.error:
                self.notify(f"{result.task.key}: {result.task.method} failed: {result.error}")
            keep(result)

        def tick() -> None:
            self.show({}, self.seconds_left())

        for batch in run_batches(self.engine, tasks, tick=tick):
            keep_each(batch, judge)


def _describe_fault(what: str, result: Result) -> str:
    """Say what the machine did to a task."""
    return f"{what}: {result.error} ({1 + MAX_RETRIES} times in a row)"


def _make_failed_record(trial: OpenTrial, error: str) -> TrialRecord:
    """Return the record of a trial whose network is to blame; what was measured is kept."""
    known = trial.record or TrialRecord(number=trial.number, state="failed", spec=trial.spec)
    return replace(known, state="failed", quality=None, error=error)
