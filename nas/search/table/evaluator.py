"""Evaluations that are looked up in a table, with the seconds that they would have taken."""

import dataclasses

from nas.analysis.ladder import LadderRun, rung_spec
from nas.record import Cost, Latency, Quality, TrialRecord
from nas.score import Challenge
from nas.search.evaluation.requests import Say, TrialRequest
from nas.search.screening import Screen, why_rejected
from nas.search.table.entries import Entry, Training
from nas.search.table.table import Table
from nas.system.faults import ArchitectureError
from nas.system.seeds import derived_seed
from search_spaces.spec import ArchSpec


class TableEvaluator:
    """Answers what a table holds, as if it were measured and trained.

    Args:
        fidelities: steps at which trainings are read, among the table's.
        seed: of the run: says which of a member's trainings a trial gets.
        device: not used, as nothing is computed.
    Attributes:
        seconds: what the last call would have taken.
    """

    def __init__(
        self,
        table: Table,
        *,
        fidelities: tuple[int, ...],
        challenge: Challenge,
        limits: dict[str, float],
        seed: int,
        device: str | None = None,
    ) -> None:
        self.table = table
        self.fidelities = fidelities
        self.challenge = challenge
        self.limits = limits
        self.seed = seed
        self.seconds = 0.0
        self._baseline = table.baseline

    def baseline(self, say: Say) -> tuple[Cost, Latency]:
        """Look the baseline's costs and latency up."""
        cost, latency, _ = self.measure(self._baseline, say)
        return cost, latency

    def measure(self, spec: ArchSpec, say: Say) -> tuple[Cost, Latency, float]:
        """Look costs and latency up, and the seconds that reading it took."""
        entry = self._find_entry(spec)
        self.seconds = entry.measure_seconds
        return entry.cost, entry.latency, self.seconds

    def ladder_run(self, rung: str, seed: int, say: Say) -> LadderRun:
        """Look a training of one size of the ladder up."""
        spec = rung_spec(rung, self.table.facts.scale)
        return LadderRun.of(rung, seed, self.train(spec, seed, None, say))

    def longer_run(self, rung: str, say: Say) -> LadderRun:
        """Refuse: a table's longer trainings are taken from it, and what it lacks has failed."""
        raise ArchitectureError(f"the table holds no longer training of {rung}")

    def train(self, spec: ArchSpec, seed: int, reference_db: float | None, say: Say) -> Quality:
        """Look a member's training with a seed up, to its end.

        Raises:
            ValueError: it failed.
        """
        training = self._find_entry(spec).trainings[seed]
        if training.error:
            raise ValueError(
                f"table: the training of {spec.arch_id}, seed {seed}: {training.error}"
            )
        return self._read_quality(training, self.fidelities[-1], before=0)

    def trial(self, request: TrialRequest, screen: Screen | None, say: Say) -> TrialRecord:
        """Answer a trial; a limit or a screen that fails spares what comes after it."""
        entry, self.seconds = self._find_entry(request.spec), 0.0
        record = TrialRecord(
            number=request.number, state="failed", spec=request.spec, cost=entry.cost
        )
        if reason := self._explain_rejection(record, screen):
            return dataclasses.replace(record, state="rejected", error=reason)

        # From here on the latency counts as read: it takes its seconds, whatever follows.
        self.seconds = entry.measure_seconds
        record = dataclasses.replace(record, latency=entry.latency)
        record = record.plus(measure=entry.measure_seconds)
        if reason := self._explain_rejection(record, screen):
            return dataclasses.replace(record, state="rejected", error=reason)

        record = self.advance(request, record, say)
        self.seconds += entry.measure_seconds
        return record

    def advance(self, request: TrialRequest, record: TrialRecord, say: Say) -> TrialRecord:
        """Look up what the trial's training reached; takes the seconds since it paused."""
        training = self._find_entry(request.spec).trainings[self._draw_training(request.spec)]
        if training.error:  # it is found out at its end
            self.seconds = training.train_seconds
            return dataclasses.replace(record, state="failed", quality=None, error=training.error)
        # What it had reached before it paused was paid then.
        before = record.quality.fidelity if record.quality else 0
        quality = self._read_quality(training, request.until, before=before)
        return dataclasses.replace(record, state="complete", quality=quality)

    def confirm(self, request: TrialRequest, record: TrialRecord, say: Say) -> TrialRecord:
        """Add the member's next training, where the table holds another that succeeded."""
        assert record.quality
        self.seconds = 0.0
        trainings = self._find_entry(request.spec).trainings
        # 1 at the first confirmation: the training after the one that the trial got.
        repeat = len(record.quality.seeds or (0,))
        training = trainings[(self._draw_training(request.spec) + repeat) % len(trainings)]
        if repeat >= len(trainings) or training.error:
            return record
        quality = self._read_quality(training, request.until, before=0)
        return dataclasses.replace(record, quality=record.quality.with_seed(quality))

    def read_test(self, spec: ArchSpec, say: Say) -> float:
        """Refuse: a table holds no test set."""
        raise ValueError("a table holds no test set")

    def _explain_rejection(self, record: TrialRecord, screen: Screen | None) -> str:
        """Say which limit or screen fails by what the record holds; empty: none."""
        baseline = self._find_entry(self._baseline).cost
        return why_rejected(record, self.limits, screen, self.challenge, baseline)

    def _draw_training(self, spec: ArchSpec) -> int:
        """Draw which of a member's trainings a trial of this run gets: always the same one."""
        num_trainings = len(self._find_entry(spec).trainings)
        return derived_seed(self.seed, "table", spec.arch_id) % num_trainings

    def _find_entry(self, spec: ArchSpec) -> Entry:
        """Return the row of a member."""
        return self.table.entries[spec.arch_id]

    def _read_quality(self, training: Training, until: int, *, before: int) -> Quality:
        """Return what a training had reached after `until` steps.

        Sets the seconds that it took since step `before`.
        """
        # Steps of a training all take the same time.
        seconds_a_step = training.train_seconds / self.table.facts.fidelities[-1]
        self.seconds = (until - before) * seconds_a_step
        curve = tuple(
            (steps, psnr_db)
            for steps, psnr_db in training.curve
            if steps in self.fidelities and steps <= until
        )

        return Quality(
            psnr_db=curve[-1][1],
            base_db=self.table.facts.base_db,
            fidelity=until,
            train_seconds=until * seconds_a_step,
            restarts=training.restarts,
            curve=curve if len(self.fidelities) > 1 else (),
        )
