"""What happens to one architecture: costs, latency, a brief training, PSNR. Runs in a worker process."""

import dataclasses
import time

import torch

from nas.analysis.ladder import LadderRun, rung_spec
from nas.measure.cost import measure_cost
from nas.measure.latency.meter import LatencyMeter
from nas.measure.latency.stopwatch import Stopwatch
from nas.record import Cost, Latency, Quality, TrialRecord
from nas.search.evaluation.pace import Pace
from nas.search.evaluation.tasks import EvaluatorSettings, Task, Tell
from nas.search.evaluation.training import Trainings
from nas.search.fidelity.checkpoint import checkpoint_path
from nas.search.screening import Screen, why_rejected
from nas.search.seeds import derived_seed
from nas.train.proxy import TrainingError
from nas.train.weights import load_upscaler, weights_path
from search_spaces.spec import ArchSpec


class ProxyEvaluator:
    """The real evaluator: opens its data when they are first needed.

    Args:
        stopwatch: stands in for the device's own.
    """

    def __init__(self, settings: EvaluatorSettings, *, stopwatch: Stopwatch | None = None) -> None:
        self.settings = settings
        self.stopwatch = stopwatch
        self.device = torch.device(settings.device)
        self.trainings = Trainings(settings)
        self.pace = Pace(settings.baseline, settings.proxy, self.device)
        self._meter: LatencyMeter | None = None
        self._baseline_cost: Cost | None = None

    def measure(self, spec: ArchSpec, tell: Tell) -> tuple[Cost, Latency, float]:
        """Costs and latency of any network, outside the search, and the seconds that took."""
        tell("measuring latency")
        start = time.perf_counter()
        latency = self._open_meter().measure(
            spec, seed=derived_seed(self.settings.seed, "latency", spec.arch_id)
        )
        return measure_cost(spec), latency, time.perf_counter() - start

    def baseline(self, tell: Tell) -> tuple[Cost, Latency]:
        tell("measuring the baseline")
        spec = self.settings.baseline
        known = self.settings.replay.get(spec.arch_id)
        return measure_cost(spec), known or self._open_meter().baseline_reading()

    def ladder_run(self, rung: str, seed: int, tell: Tell) -> LadderRun:
        """Train one rung with one seed; its weights are kept where it is the baseline itself."""
        spec = rung_spec(rung, self.settings.scale)
        keep = spec.arch_id == self.settings.baseline.arch_id and seed == 0
        through = Task(number=0, spec=spec, until=self.settings.proxy.steps, reference_db=None)
        return LadderRun.of(
            rung, seed, self.trainings.train(through, ("ladder", rung, seed), tell, keep=keep)
        )

    def train(self, spec: ArchSpec, seed: int, reference_db: float | None, tell: Tell) -> Quality:
        """Train and validate any network once, outside the search; nothing is kept.

        Args:
            reference_db: as `Task`'s.
        """
        through = Task(number=0, spec=spec, until=self.settings.proxy.steps, reference_db=reference_db)
        return self.trainings.train(through, ("train", spec.arch_id, seed), tell, keep=False)

    def trial(self, task: Task, screen: Screen | None, tell: Tell) -> TrialRecord:
        """Measure and train one architecture; a limit or a screen that fails spares what comes after it."""
        tell("counting")
        spec = task.spec
        record = TrialRecord(
            number=task.number, state="failed", spec=spec, cost=measure_cost(spec), inherits=task.inherits
        )
        if over := self._over(record, screen):
            return dataclasses.replace(record, state="rejected", error=over)
        if slow := self._too_slow(spec, tell):
            return dataclasses.replace(record, state="rejected", error=slow)
        if spec.arch_id in self.settings.replay:
            record = dataclasses.replace(record, latency=self.settings.replay[spec.arch_id])
        else:
            tell("measuring latency")
            record = self._read(record)
        if over := self._over(record, screen):
            return dataclasses.replace(record, state="rejected", error=over)
        return self.advance(task, record, tell)

    def advance(self, task: Task, record: TrialRecord, tell: Tell) -> TrialRecord:
        """Train what is measured, on from where it paused; its record with what it has reached.

        Where its checkpoint is gone it is trained from the start, to the same bits.
        """
        waited = self.trainings.waited
        try:
            path = checkpoint_path(self.settings.run, task.number)
            quality = self.trainings.train(task, ("trial", task.number), tell, keep=True, path=path)
        except TrainingError as error:
            record = dataclasses.replace(record, state="failed", quality=None, error=str(error))
        else:
            record = dataclasses.replace(record, state="complete", quality=quality)
        return record.plus(wait=self.trainings.waited - waited)

    def confirm(self, task: Task, record: TrialRecord, tell: Tell) -> TrialRecord:
        """Measure and train once more what is complete, with another seed; its record with both.

        The weights that are kept are the new ones. Where the second training fails the first one stands.
        """
        assert record.quality
        assert record.latency
        again = len(record.quality.seeds or (0,))  # 1, 2, ...
        latency = record.latency
        if task.spec.arch_id not in self.settings.replay:
            tell("measuring latency again")
            read = self._read(record, again)
            assert read.latency
            latency = latency.pooled(read.latency)
            record = dataclasses.replace(record, seconds=read.seconds)
        try:
            quality = self.trainings.train(task, ("trial", task.number, "again", again), tell, keep=True)
        except TrainingError:
            return record
        assert record.quality
        return dataclasses.replace(record, latency=latency, quality=record.quality.with_seed(quality))

    def read_test(self, spec: ArchSpec, tell: Tell) -> float:
        """PSNR of a front member on the test set, from its kept weights."""
        tell(f"reading the test set for {spec.arch_id}")
        with self.trainings.sharing():
            upscaler = load_upscaler(spec, weights_path(self.settings.run, spec)).to(self.device)
            return self.trainings.mean_db(upscaler, "test")

    def _read(self, record: TrialRecord, again: int = 0) -> TrialRecord:
        """The record with a latency read now, and the seconds that took; errors as `_measure`."""
        start, waited = time.perf_counter(), self._open_meter().waited
        latency = self._measure(record.spec, record.number, again)
        waited = self._open_meter().waited - waited
        read = record.plus(measure=time.perf_counter() - start - waited, wait=waited)
        return dataclasses.replace(read, latency=latency)

    def _measure(self, spec: ArchSpec, number: int, again: int = 0) -> Latency:
        """Read a latency.

        Args:
            again: readings before this one.
        Raises:
            RuntimeError: it cannot be read, or the run replays readings of other conditions.
        """
        meter = self._open_meter()
        known = self.settings.replay.get(self.settings.baseline.arch_id)
        if known is not None and known.conditions != meter.conditions:
            raise RuntimeError(
                f"latency: the replayed readings are of {known.conditions}, here they would be of "
                f"{meter.conditions}; they cannot be mixed"
            )
        purpose = ("latency", number, again) if again else ("latency", number)
        return meter.measure(spec, seed=derived_seed(self.settings.seed, *purpose))

    def _over(self, record: TrialRecord, screen: Screen | None) -> str:
        settings = self.settings
        assert settings.challenge  # of a search
        base = self._baseline_cost = self._baseline_cost or measure_cost(settings.baseline)
        return why_rejected(record, settings.limits, screen, settings.challenge, base)

    def _too_slow(self, spec: ArchSpec, tell: Tell) -> str:
        """Why it is not waited for, in words; empty: it is."""
        cap = self.settings.time_cap
        if cap is None:
            return ""
        tell("timing a step")
        with self.trainings.sharing():
            ratio = self.pace.ratio(spec, cap)
        return (
            f"time_cap: a training step takes {ratio:.1f} times the baseline's > {cap:g}"
            if ratio > cap
            else ""
        )

    def _open_meter(self) -> LatencyMeter:
        if self._meter is None:
            self._meter = LatencyMeter(
                self.settings.latency,
                baseline=self.settings.baseline,
                device=self.device,
                stopwatch=self.stopwatch,
            )
        return self._meter
