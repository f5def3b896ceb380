"""What happens to one architecture: costs, latency, a brief training, PSNR. Runs in a worker process."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor

from nas.data.patches import PatchStore
from nas.data.sets import ImageSet
from nas.ladder import LadderRun, rung_spec
from nas.measure.cost import measure_cost
from nas.measure.device import device_id
from nas.measure.latency.config import LatencyConfig
from nas.measure.latency.meter import LatencyMeter
from nas.measure.latency.stopwatch import Stopwatch
from nas.measure.lock import shared
from nas.measure.quality import Upscaler, mean_db, per_image
from nas.record import Cost, Latency, Quality, TrialRecord
from nas.score import Challenge
from nas.search.fidelity.checkpoint import Progress, checkpoint_path, read_checkpoint, write_checkpoint
from nas.search.screening import Screen, why_rejected
from nas.search.seeds import derived_seed
from nas.train.linear import linear_filter
from nas.train.parent import NUM_IMAGES, SIDE, Parent, ParentFile
from nas.train.proxy import (
    BASE,
    CALIBRATION_STEP,
    OverBase,
    ProxyConfig,
    ProxyTrainer,
    TrainingError,
    bicubic_base,
)
from nas.train.weights import load_upscaler
from search_spaces.network import Network
from search_spaces.spec import ArchSpec

Tell = Callable[[str], None]  # takes a few words on what is being done
CALMER = 0.5  # times the learning rates, where a run diverged
MAKES_WAY = ("cuda",)  # types of devices on which trainings stop while a latency is read
STUCK_MARGIN_DB = 0.02  # a network this close to the best linear filter has learned no more than one


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A trial, and how far it is to be trained.

    Attributes:
        until: training steps.
        references: PSNR of the reference by fidelity: a run is called stuck only at a fidelity at which
            the reference learns more than a linear filter.
    """

    number: int
    spec: ArchSpec
    until: int
    references: Mapping[int, float]


class Evaluator(Protocol):
    """What the controller needs done; every call may take minutes."""

    def baseline(self, tell: Tell) -> tuple[Cost, Latency]: ...
    def measure(self, spec: ArchSpec, tell: Tell) -> tuple[Cost, Latency, float]: ...
    def ladder_run(self, rung: str, seed: int, tell: Tell) -> LadderRun: ...
    def train(self, spec: ArchSpec, seed: int, references: Mapping[int, float], tell: Tell) -> Quality: ...
    def trial(self, task: Task, screen: Screen | None, tell: Tell) -> TrialRecord: ...
    def advance(self, task: Task, record: TrialRecord, tell: Tell) -> TrialRecord: ...
    def confirm(self, task: Task, record: TrialRecord, tell: Tell) -> TrialRecord: ...
    def report(self, spec: ArchSpec, tell: Tell) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatorSettings:
    """Everything that an evaluation depends on; sent to worker processes.

    Attributes:
        fidelities: steps at which a training is read, its end the last.
        sets: the opened roles: train, select and, where there is one, report.
        parent: what candidates start from; None: fresh weights.
        replay: latencies by arch_id that stand in for measuring, as a repeated search needs them.
    """

    run: Path
    sets: Mapping[str, ImageSet]
    memory_mib: float
    cache: str | None
    scale: int
    challenge: Challenge | None
    proxy: ProxyConfig
    fidelities: tuple[int, ...]
    latency: LatencyConfig
    limits: Mapping[str, float]
    device: str
    seed: int
    baseline: ArchSpec
    replay: Mapping[str, Latency]
    parent: ParentFile | None = None


class ProxyEvaluator:
    """The real evaluator: opens its data when they are first needed.

    Args:
        stopwatch: stands in for the device's own.
    """

    def __init__(self, settings: EvaluatorSettings, *, stopwatch: Stopwatch | None = None) -> None:
        self.settings = settings
        self.stopwatch = stopwatch
        self.device = torch.device(settings.device)
        self._give_way: Callable[[], None] = _go_on  # between steps and images: lets a measurement in
        self._waited = 0.0  # seconds, of trainings for the device
        self._patches: PatchStore | None = None
        self._parent: Parent | None = None
        self._meter: LatencyMeter | None = None
        self._base_db: float | None = None
        self._linear_db: float | None = None
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
        through = Task(number=0, spec=spec, until=self.settings.proxy.steps, references={})
        return LadderRun.of(rung, seed, self._quality(through, ("ladder", rung, seed), tell, keep=keep))

    def train(self, spec: ArchSpec, seed: int, references: Mapping[int, float], tell: Tell) -> Quality:
        """Train and validate any network once, outside the search; nothing is kept.

        Args:
            references: as `Task`'s; without any, a run that is stuck is not told from others.
        """
        through = Task(number=0, spec=spec, until=self.settings.proxy.steps, references=references)
        return self._quality(through, ("train", spec.arch_id, seed), tell, keep=False)

    def trial(self, task: Task, screen: Screen | None, tell: Tell) -> TrialRecord:
        """Measure and train one architecture; a limit or a screen that fails spares what comes after it."""
        tell("counting")
        spec = task.spec
        record = TrialRecord(number=task.number, state="failed", spec=spec, cost=measure_cost(spec))
        if over := self._over(record, screen):
            return dataclasses.replace(record, state="rejected", error=over)
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
        waited = self._waited
        try:
            path = checkpoint_path(self.settings.run, task.number)
            quality = self._quality(task, ("trial", task.number), tell, keep=True, path=path)
        except TrainingError as error:
            record = dataclasses.replace(record, state="failed", quality=None, error=str(error))
        else:
            record = dataclasses.replace(record, state="complete", quality=quality)
        return record.plus(wait=self._waited - waited)

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
            quality = self._quality(task, ("trial", task.number, "again", again), tell, keep=True)
        except TrainingError:
            return record
        assert record.quality
        return dataclasses.replace(record, latency=latency, quality=record.quality.with_seed(quality))

    def report(self, spec: ArchSpec, tell: Tell) -> float:
        """PSNR of a front member on the report set, from its kept weights."""
        tell(f"reading the report set for {spec.arch_id}")
        with self._sharing():
            upscaler = load_upscaler(spec, weights_path(self.settings.run, spec)).to(self.device)
            return self._mean_db(upscaler, "report")

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

    @contextlib.contextmanager
    def _sharing(self) -> Iterator[None]:
        """Use the device for training: on a GPU measurements have it alone, and trainings make way.

        On a CPU they go on. Measured on two cores, twelve readings each with a training of ours stopped and
        running: intervals of +- 0.79 and 0.73 %, two readings 0.9 and 0.8 % apart, the ratio moved by 0.2 %;
        with two more processes on the cores 0.94 and 0.95 %, 1.2 and 1.7 %, and 0.6 %.
        """
        if self.device.type not in MAKES_WAY:
            yield
            return
        with shared(device_id(self.device), settle=self._settle) as share:
            self._give_way = share.give_way
            try:
                yield
            finally:
                self._give_way = _go_on
                self._waited += share.waited

    def _settle(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _quality(
        self,
        task: Task,
        purpose: tuple[str | int, ...],
        tell: Tell,
        *,
        keep: bool,
        path: Path | None = None,
    ) -> Quality:
        """Train and validate; where that diverged or got stuck, again with another seed.

        Args:
            keep: the weights at the end.
            path: of its checkpoint, where it goes on and where it pauses.
        Raises:
            TrainingError: every attempt ended so.
        """
        config, start, waited = self.settings.proxy, time.perf_counter(), self._waited
        spec, until = task.spec, task.until
        kept = read_checkpoint(path) if path else None
        patches = self._open_patches()  # takes a while, on the CPU alone: nobody makes way for it
        going = kept or Progress()
        while True:
            seed = derived_seed(self.settings.seed, *purpose, going.attempt)
            parent = self._open_parent()
            trainer = ProxyTrainer(
                spec,
                config,
                patches,
                seed=seed,
                device=self.device,
                rate=going.rate,
                start=parent.child(spec, seed=seed) if parent else None,
                parent=parent.upscaler.to(self.device) if parent and config.distill else None,
            )
            if going.trainer:
                trainer.restore(going.trainer)
            try:
                with self._sharing():
                    for stop in self.settings.fidelities:
                        if trainer.done < stop <= until:
                            trainer.run(stop, tell=tell, give_way=self._give_way)
                            tell("validating")
                            net = trainer.averaged()
                            going.curve.append((stop, self._validate(net, task.references.get(stop))))
                    base = self._open_base_db()
                break
            except TrainingError as error:
                if going.attempt == config.max_restarts:
                    if path:
                        path.unlink(missing_ok=True)
                    raise
                calmer = CALMER if error.kind == "diverged" else 1.0
                going = Progress(attempt=going.attempt + 1, rate=going.rate * calmer, seconds=going.seconds)
        seconds = going.seconds + time.perf_counter() - start - (self._waited - waited)
        if path and until < config.steps:
            write_checkpoint(path, dataclasses.replace(going, trainer=trainer.state(), seconds=seconds))
        elif path:
            path.unlink(missing_ok=True)
        if keep and until == config.steps:
            save_weights(net, spec, self.settings.run)
        return Quality(
            psnr_db=going.curve[-1][1],
            base_db=base,
            fidelity=until,
            train_seconds=seconds,
            restarts=going.attempt,
            curve=tuple(going.curve) if len(self.settings.fidelities) > 1 else (),
        )

    def _validate(self, net: Network, reference_db: float | None) -> float:
        psnr = self._mean_db(OverBase(net), "select")
        if not math.isfinite(psnr):
            raise TrainingError("diverged", f"PSNR is {psnr}")
        if reference_db is None:
            return psnr
        linear = self._open_linear_db()
        if psnr < linear + STUCK_MARGIN_DB < reference_db - STUCK_MARGIN_DB:
            raise TrainingError("stuck", f"{psnr:.3f} dB is no better than a linear filter's {linear:.3f} dB")
        return psnr

    def _mean_db(self, upscale: Upscaler, role: str) -> float:
        """PSNR over the images of a role; makes way before each."""

        def courteous(image: Tensor) -> Tensor:
            self._give_way()
            return upscale(image)

        return mean_db(per_image(courteous, self.settings.sets[role], self.device))

    def _over(self, record: TrialRecord, screen: Screen | None) -> str:
        settings = self.settings
        assert settings.challenge  # of a search
        base = self._baseline_cost = self._baseline_cost or measure_cost(settings.baseline)
        return why_rejected(record, settings.limits, screen, settings.challenge, base)

    def _open_meter(self) -> LatencyMeter:
        if self._meter is None:
            self._meter = LatencyMeter(
                self.settings.latency,
                baseline=self.settings.baseline,
                device=self.device,
                stopwatch=self.stopwatch,
            )
        return self._meter

    def _open_patches(self) -> PatchStore:
        if self._patches is None:
            settings = self.settings
            self._patches = PatchStore(
                settings.sets["train"],
                seed=derived_seed(settings.seed, "patches"),
                memory_mib=settings.memory_mib,
                cache=settings.cache,
                progress=False,
            )
        return self._patches

    def _open_parent(self) -> Parent | None:
        if self._parent is None and self.settings.parent:
            images, _ = self._open_patches().batch(CALIBRATION_STEP, NUM_IMAGES, SIDE)
            self._parent = Parent(self.settings.parent, images)
        return self._parent

    def _open_base_db(self) -> float:
        if self._base_db is None:
            scale = self.settings.scale
            self._base_db = self._mean_db(lambda x: bicubic_base(x, scale), "select")
        return self._base_db

    def _open_linear_db(self) -> float:
        if self._linear_db is None:
            upscale = linear_filter(self._open_patches(), self.device)
            self._linear_db = self._mean_db(upscale, "select")
        return self._linear_db


def _go_on() -> None:
    """No measurement is waited for."""


def weights_path(run: Path, spec: ArchSpec) -> Path:
    return run / "weights" / f"{spec.arch_id}.safetensors"


def save_weights(net: Network, spec: ArchSpec, run: Path) -> None:
    """Write proxy weights whole or not at all; the metadata says over which base they are residuals."""
    path = weights_path(run, spec)
    path.parent.mkdir(exist_ok=True)
    draft = path.with_suffix(".partial")
    state = {name: value.contiguous().cpu() for name, value in net.state_dict().items()}
    save_file(state, draft, metadata={"base": BASE, "arch": spec.to_json()})
    draft.replace(path)
