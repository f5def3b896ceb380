"""The trainings of one worker: attempts, readings on the way, checkpoints, and the PSNR of what came out."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from nas.data.patches import PatchStore
from nas.measure.device import device_id
from nas.measure.lock import shared
from nas.measure.quality import Upscaler, mean_db, per_image
from nas.record import Quality
from nas.search.evaluation.tasks import EvaluatorSettings, Task, Tell
from nas.search.fidelity.checkpoint import Progress, read_checkpoint, write_checkpoint
from nas.search.seeds import derived_seed
from nas.train.linear import PATCH, linear_filter
from nas.train.parent import NUM_IMAGES, SIDE, Parent, ParentFile
from nas.train.proxy import CALIBRATION_STEP, OverBase, ProxyTrainer, TrainingError, bicubic_base
from nas.train.weights import save_weights, weights_path
from search_spaces.network import Network
from search_spaces.spec import ArchSpec

CALMER = 0.5  # times the learning rates, where a run diverged
MAKES_WAY = ("cuda",)  # types of devices on which trainings stop while a latency is read
STUCK_MARGIN_DB = 0.02  # a network this close to the best linear filter has learned no more than one


class Trainings:
    """Trains and validates; opens photographs and the parent when they are first needed.

    Attributes:
        waited: seconds, of trainings for the device.
    """

    def __init__(self, settings: EvaluatorSettings) -> None:
        self.settings = settings
        self.device = torch.device(settings.device)
        self.waited = 0.0
        self._give_way: Callable[[], None] = _go_on  # between steps and images: lets a measurement in
        self._patches: PatchStore | None = None
        self._parents: dict[ParentFile, Parent] = {}  # the one that was asked for last
        self._base_db: float | None = None
        self._linear_db: float | None = None

    @contextlib.contextmanager
    def sharing(self) -> Iterator[None]:
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
                self.waited += share.waited

    def _settle(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def train(
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
        config, start, waited = self.settings.proxy, time.perf_counter(), self.waited
        spec, until = task.spec, task.until
        kept = read_checkpoint(path) if path else None
        patches = self.open_patches()  # takes a while, on the CPU alone: nobody makes way for it
        going = kept or Progress()
        while True:
            seed = derived_seed(self.settings.seed, *purpose, going.attempt)
            parent = self._open_parent(task.parent)
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
                with self.sharing():
                    for stop in self.settings.fidelities:
                        if trainer.done < stop <= until:
                            trainer.run(stop, tell=tell, give_way=self._give_way)
                            tell("validating")
                            net = trainer.averaged()
                            # Before its end a training may be no further than a filter, and not be stuck.
                            whole_db = task.reference_db if stop == config.steps else None
                            going.curve.append((stop, self._validate(net, whole_db)))
                    base = self._open_base_db()
                break
            except TrainingError as error:
                if going.attempt == config.max_restarts:
                    if path:
                        path.unlink(missing_ok=True)
                    raise
                calmer = CALMER if error.kind == "diverged" else 1.0
                going = Progress(attempt=going.attempt + 1, rate=going.rate * calmer, seconds=going.seconds)
        seconds = going.seconds + time.perf_counter() - start - (self.waited - waited)
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
        psnr = self.mean_db(OverBase(net), "val")
        if not math.isfinite(psnr):
            raise TrainingError("diverged", f"PSNR is {psnr}")
        if reference_db is None:
            return psnr
        linear = self._open_linear_db()
        if psnr < linear + STUCK_MARGIN_DB < reference_db - STUCK_MARGIN_DB:
            raise TrainingError("stuck", f"{psnr:.3f} dB is no better than a linear filter's {linear:.3f} dB")
        return psnr

    def mean_db(self, upscale: Upscaler, role: str) -> float:
        """PSNR over the images of a role; makes way before each."""

        def courteous(image: Tensor) -> Tensor:
            self._give_way()
            return upscale(image)

        return mean_db(per_image(courteous, self.settings.sets[role], self.device))

    def open_patches(self) -> PatchStore:
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

    def _open_parent(self, own: ArchSpec | None) -> Parent | None:
        """What a training starts from: a network of this run, or the one that all start from."""
        settings = self.settings
        file = settings.parent
        if own is not None:
            file = ParentFile(spec=own, weights=weights_path(settings.run, own))
        if file is None:
            return None
        if file not in self._parents:
            patches = self.open_patches()
            images, _ = patches.batch(CALIBRATION_STEP, NUM_IMAGES, patches.fitting_patch(SIDE))
            self._parents = {file: Parent(file, images)}
        return self._parents[file]

    def _open_base_db(self) -> float:
        if self._base_db is None:
            scale = self.settings.scale
            self._base_db = self.mean_db(lambda x: bicubic_base(x, scale), "val")
        return self._base_db

    def _open_linear_db(self) -> float:
        if self._linear_db is None:
            patches = self.open_patches()
            upscale = linear_filter(patches, self.device, patch=patches.fitting_patch(PATCH))
            self._linear_db = self.mean_db(upscale, "val")
        return self._linear_db


def _go_on() -> None:
    """No measurement is waited for."""
