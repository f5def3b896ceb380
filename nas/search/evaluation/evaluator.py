"""What happens to one architecture in a worker: costs, latency, a brief training, PSNR."""

import dataclasses
import time

import torch

from nas.analysis.ladder import LadderRun, rung_spec
from nas.measure.cost import measure_cost
from nas.measure.latency.meter import LatencyMeter
from nas.measure.latency.stopwatch import Stopwatch
from nas.record import Cost, Latency, Quality, TrialRecord
from nas.search.evaluation.pace import Pace
from nas.search.evaluation.requests import Say, TrialRequest
from nas.search.evaluation.settings import EvaluatorSettings
from nas.search.evaluation.training import Trainings
from nas.search.fidelity.checkpoint import checkpoint_path
from nas.search.same_images import refuse_other_base
from nas.search.screening import Screen, why_rejected
from nas.system.faults import ArchitectureError
from nas.system.seeds import derived_seed
from nas.train.trainer import TrainingError
from nas.train.weights import load_upscaler, weights_path
from search_spaces.spec import ArchSpec


class ProxyEvaluator:
    """Measures and trains with the proxy; opens its data when they are first needed.

    Args:
        device: the worker's own; None: that of the settings.
        stopwatch: stands in for the device's own.
    """

    def __init__(
        self,
        settings: EvaluatorSettings,
        *,
        device: str | None = None,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self.settings = settings
        self.stopwatch = stopwatch
        self.device = torch.device(device or settings.device)
        self.trainings = Trainings(settings, self.device)
        self.notices = self.trainings.notices  # what the user is to be told
        self.pace = Pace(settings.baseline, settings.proxy, self.device)
        self._meter: LatencyMeter | None = None
        self._baseline_cost: Cost | None = None

    def measure(self, spec: ArchSpec, say: Say) -> tuple[Cost, Latency, float]:
        """Return costs and latency of a network, and the seconds that reading it took."""
        say("measuring latency")
        start = time.perf_counter()
        # Outside a search there is no trial number to derive a seed from.
        seed = derived_seed(self.settings.seed, "latency", spec.arch_id)
        latency = self._open_meter().measure(spec, seed=seed)
        return measure_cost(spec), latency, time.perf_counter() - start

    def baseline(self, say: Say) -> tuple[Cost, Latency]:
        """Return costs and latency of the baseline; a replay's latency where there is one."""
        say("measuring the baseline")
        spec = self.settings.baseline
        replayed = self.settings.replay.get(spec.arch_id)
        return measure_cost(spec), replayed or self._open_meter().baseline_reading()

    def ladder_run(self, rung: str, seed: int, say: Say) -> LadderRun:
        """Train one size of the ladder; the weights of the baseline's first training are kept."""
        # Row 0 is one of these trainings: its weights are those of a front member.
        spec = rung_spec(rung, self.settings.scale)
        keep = spec.arch_id == self.settings.baseline.arch_id and seed == 0
        whole = self._request_whole(spec, reference_db=None)
        quality = self.trainings.train(whole, ("ladder", rung, seed), say, keep=keep)
        return LadderRun.of(rung, seed, quality)

    def longer_run(self, rung: str, say: Say) -> LadderRun:
        """Train one size of the ladder `FACTOR` times as long, and read it on its way.

        The seed is always 0, whatever the run's: the result is one of the data and the proxy, which
        later searches take over.
        """
        spec = rung_spec(rung, self.settings.scale)
        trainings = self.trainings.lengthen()
        steps = trainings.settings.proxy.steps
        whole = TrialRequest(number=0, spec=spec, until=steps, reference_db=None)
        quality = trainings.train(whole, ("ladder", rung, 0), say, keep=False)
        return LadderRun.of(rung, 0, quality)

    def train(self, spec: ArchSpec, seed: int, reference_db: float | None, say: Say) -> Quality:
        """Train and validate a network outside the search; nothing is kept.

        Args:
            reference_db: as in `TrialRequest`.
        """
        whole = self._request_whole(spec, reference_db)
        return self.trainings.train(whole, ("train", spec.arch_id, seed), say, keep=False)

    def trial(self, request: TrialRequest, screen: Screen | None, say: Say) -> TrialRecord:
        """Measure and train one architecture, from what is cheap to what is dear.

        A limit or a screen that fails spares what comes after it.

        Raises:
            ArchitectureError: it cannot be built.
        """
        # Counting takes parts of a second.
        say("counting")
        spec = request.spec
        record = TrialRecord(
            number=request.number,
            state="failed",
            spec=spec,
            cost=_count_cost(spec),
            inherits=request.inherits,
        )
        if reason := self._explain_rejection(record, screen):
            return dataclasses.replace(record, state="rejected", error=reason)

        # A network that trains very slowly would also be read for minutes.
        if reason := self._explain_slowness(spec, say):
            return dataclasses.replace(record, state="rejected", error=reason)

        # Latency comes before the training, as a limit on it may spare that.
        if spec.arch_id in self.settings.replay:
            record = dataclasses.replace(record, latency=self.settings.replay[spec.arch_id])
        else:
            say("measuring latency")
            record = self._add_latency(record)
        if reason := self._explain_rejection(record, screen):
            return dataclasses.replace(record, state="rejected", error=reason)
        return self.advance(request, record, say)

    def advance(self, request: TrialRequest, record: TrialRecord, say: Say) -> TrialRecord:
        """Train a measured network, on from where it paused; returns its record with the result.

        Where its checkpoint is gone it is trained from the start, to the same bits.
        """
        waited_before = self.trainings.waited
        path = checkpoint_path(self.settings.run, request.number)
        purpose = ("trial", request.number)
        # A failure is a row too: it counts, and the sampler learns from it.
        try:
            quality = self.trainings.train(request, purpose, say, keep=True, path=path)
        except TrainingError as error:
            record = dataclasses.replace(record, state="failed", quality=None, error=str(error))
        else:
            record = dataclasses.replace(record, state="complete", quality=quality)

        return record.plus(wait=self.trainings.waited - waited_before)

    def confirm(self, request: TrialRequest, record: TrialRecord, say: Say) -> TrialRecord:
        """Measure and train a complete network once more, with another seed; its record holds both.

        The weights that are kept are the new ones. Where the second training fails, the first
        one stands.
        """
        assert record.quality
        assert record.latency
        repeat = len(record.quality.seeds or (0,))  # 1, 2, ...
        latency = record.latency

        # A replayed latency cannot be read again.
        if request.spec.arch_id not in self.settings.replay:
            say("measuring latency again")
            reading = self._add_latency(record, repeat)
            assert reading.latency
            latency = latency.pooled(reading.latency)
            record = dataclasses.replace(record, seconds=reading.seconds)

        # Another purpose gives another seed, the same one whenever it is asked for.
        purpose = ("trial", request.number, "again", repeat)
        try:
            quality = self.trainings.train(request, purpose, say, keep=True)
        except TrainingError:
            return record
        assert record.quality
        refuse_other_base(quality.base_db, record.quality.base_db)
        both = record.quality.with_seed(quality)
        return dataclasses.replace(record, latency=latency, quality=both)

    def read_test(self, spec: ArchSpec, say: Say) -> float | None:
        """Return the PSNR of a front member on the test images, in dB, from its kept weights.

        None: these are lost or damaged.
        """
        say(f"reading the test set for {spec.arch_id}")
        try:
            upscaler = load_upscaler(spec, weights_path(self.settings.run, spec))
        except (OSError, ValueError) as error:
            self.notices.append(f"its weights cannot be read, nor the test set with them ({error})")
            return None
        # Reading images is a training's work: it makes way for measurements.
        with self.trainings.sharing():
            return self.trainings.mean_db(upscaler.to(self.device), "test")

    def _request_whole(self, spec: ArchSpec, reference_db: float | None) -> TrialRequest:
        """Ask for a training to the end of a network that is no trial."""
        steps = self.settings.proxy.steps
        return TrialRequest(number=0, spec=spec, until=steps, reference_db=reference_db)

    def _add_latency(self, record: TrialRecord, repeat: int = 0) -> TrialRecord:
        """Return the record with a latency read now, and the seconds that took."""
        meter = self._open_meter()
        start, waited_before = time.perf_counter(), meter.waited
        # What was waited for the device is no work of this reading.
        latency = self._read_latency(record.spec, record.number, repeat)
        waited = meter.waited - waited_before
        timed = record.plus(measure=time.perf_counter() - start - waited, wait=waited)
        return dataclasses.replace(timed, latency=latency)

    def _read_latency(self, spec: ArchSpec, number: int, repeat: int) -> Latency:
        """Read the latency of a trial.

        Args:
            repeat: how many readings came before this one.
        Raises:
            RuntimeError: it cannot be read, or the run replays readings of other conditions.
        """
        meter = self._open_meter()
        replayed = self.settings.replay.get(self.settings.baseline.arch_id)
        if replayed is not None and replayed.conditions != meter.conditions:
            raise RuntimeError(
                f"latency: the replayed readings are of {replayed.conditions}, here they would be "
                f"of {meter.conditions}; they cannot be mixed"
            )

        purpose = ("latency", number, repeat) if repeat else ("latency", number)
        return meter.measure(spec, seed=derived_seed(self.settings.seed, *purpose))

    def _explain_rejection(self, record: TrialRecord, screen: Screen | None) -> str:
        """Say which limit or screen fails by what is measured so far; empty: none."""
        settings = self.settings
        assert settings.challenge  # of a search
        # Counted once: the score of every candidate compares with it.
        if self._baseline_cost is None:
            self._baseline_cost = measure_cost(settings.baseline)
        return why_rejected(
            record, settings.limits, screen, settings.challenge, self._baseline_cost
        )

    def _explain_slowness(self, spec: ArchSpec, say: Say) -> str:
        """Say that its training steps take longer than `time_cap` allows; empty: they do not."""
        cap = self.settings.time_cap
        if cap is None:
            return ""
        say("timing a step")
        # A step is a training's: on a GPU it makes way for measurements too.
        with self.trainings.sharing():
            ratio = self.pace.ratio(spec, cap)
        if ratio <= cap:
            return ""
        return f"time_cap: a training step takes {ratio:.1f} times the baseline's > {cap:g}"

    def _open_meter(self) -> LatencyMeter:
        """Return the meter, opened at the first call: a replay needs none."""
        if self._meter is None:
            self._meter = LatencyMeter(
                self.settings.latency,
                baseline=self.settings.baseline,
                device=self.device,
                stopwatch=self.stopwatch,
            )
        return self._meter


def _count_cost(spec: ArchSpec) -> Cost:
    """Return what a network costs.

    Raises:
        ArchitectureError: it cannot be built.
    """
    # Counting reads no file and no device: whatever goes wrong is about the network.
    try:
        return measure_cost(spec)
    except MemoryError:
        raise
    except Exception as error:
        raise ArchitectureError(f"it cannot be built: {type(error).__name__}: {error}") from error
