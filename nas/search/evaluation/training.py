"""The trainings of one worker: attempts, readings on the way, checkpoints, PSNR of the outcome."""

import contextlib
import dataclasses
import functools
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from nas.analysis.lasting import FACTOR, list_readings
from nas.data.patches import PatchStore
from nas.data.pixels.base import bicubic_base
from nas.measure.device import device_id
from nas.measure.lock import shared
from nas.measure.quality import Upscaler, mean_db, per_image
from nas.record import Quality
from nas.search.evaluation.requests import Say, TrialRequest
from nas.search.evaluation.settings import EvaluatorSettings
from nas.search.fidelity.checkpoint import Progress, read_checkpoint, write_checkpoint
from nas.system.faults import MachineError
from nas.system.seeds import derived_seed
from nas.train.linear import PATCH, linear_filter
from nas.train.parent import NUM_IMAGES, SIDE, Parent, ParentFile
from nas.train.proxy import OverBase, start_proxy
from nas.train.start import CALIBRATION_STEP
from nas.train.trainer import StageTrainer, TrainingError
from nas.train.weights import save_weights, weights_path
from search_spaces.network import Network
from search_spaces.spec import ArchSpec

CALMER = 0.5  # times the learning rates, where a training diverged
MAKES_WAY = ("cuda",)  # types of devices on which trainings stop while a latency is read
STUCK_MARGIN_DB = (
    0.02  # a network this close to the best linear filter has learned no more than one
)


class Trainings:
    """Trains and validates; opens photographs and the parent when they are first needed.

    Attributes:
        waited: seconds that trainings waited for the device.
        notices: what the user is to be told, such as weights that could not be kept.
    """

    def __init__(self, settings: EvaluatorSettings, device: torch.device) -> None:
        self.settings = settings
        self.device = device
        self.waited = 0.0
        self.notices: list[str] = []
        # Called between steps and images; comes back once no measurement wants the device.
        self._give_way: Callable[[], None] = _go_on
        self._patches: PatchStore | None = None
        self._parents: dict[ParentFile, Parent] = {}  # the one that was asked for last
        self._base_db: float | None = None
        self._linear_db: float | None = None

    def lengthen(self) -> "Trainings":
        """Return trainings `FACTOR` times as long, of seed 0, on the same decoded images."""
        proxy = self.settings.proxy
        settings = dataclasses.replace(
            self.settings,
            proxy=dataclasses.replace(proxy, steps=FACTOR * proxy.steps),
            fidelities=list_readings(proxy.steps),
            seed=0,
        )
        longer = Trainings(settings, self.device)
        longer._patches = self.open_patches().with_seed(derived_seed(0, "patches"))
        return longer

    @contextlib.contextmanager
    def sharing(self) -> Iterator[None]:
        """Use the device for training: on a GPU trainings make way for measurements.

        On a CPU they go on. Measured on two cores, twelve readings each with a training of ours
        stopped and running: intervals of +- 0.79 and 0.73 %, two readings 0.9 and 0.8 % apart, the
        ratio moved by 0.2 %; with two more processes on the cores 0.94 and 0.95 %, 1.2 and 1.7 %,
        and 0.6 %.
        """
        if self.device.type not in MAKES_WAY:
            yield
            return
        with shared(device_id(self.device), settle=self._synchronise) as share:
            self._give_way = share.give_way
            try:
                yield
            finally:
                self._give_way = _go_on
                self.waited += share.waited

    def _synchronise(self) -> None:
        """Wait until the device has done what was queued: only then may a measurement begin."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def train(
        self,
        request: TrialRequest,
        purpose: tuple[str | int, ...],
        say: Say,
        *,
        keep: bool,
        path: Path | None = None,
    ) -> Quality:
        """Train and validate; what diverged or got stuck is begun again with another seed.

        Args:
            purpose: words and numbers that its seed is derived from, beside the run's.
            keep: whether the weights are saved at the end.
            path: of its checkpoint, from which it goes on and where it pauses.
        Raises:
            TrainingError: no attempt succeeded.
        """
        start, waited_before = time.perf_counter(), self.waited
        identity = self._identify_training(request, purpose)
        progress = self._read_progress(path, identity, say) if path else Progress()
        self.open_patches()  # takes a while, on the CPU alone: nobody makes way for it

        # Each attempt has a seed of its own and begins at step 0, but for the first after a pause.
        while True:
            trainer = self._open_trainer(request, purpose, progress)
            try:
                with self.sharing():
                    net = self._climb_rungs(trainer, request, progress, say)
                    self._open_base_db()  # read on the device too, while it is ours
                break
            except TrainingError as error:
                if progress.attempt == self.settings.proxy.max_restarts:
                    self._drop_checkpoint(path)
                    raise
                progress = _begin_again(progress, error)

        # A training that pauses leaves a checkpoint, a whole one its weights.
        seconds = progress.seconds + time.perf_counter() - start - (self.waited - waited_before)
        if request.until == self.settings.proxy.steps:
            self._drop_checkpoint(path)
            if keep:
                run = self.settings.run
                self._store("weights", lambda: save_weights(net, request.spec, run, over_base=True))
        elif path:
            paused = dataclasses.replace(progress, trainer=trainer.state(), seconds=seconds)
            write = functools.partial(write_checkpoint, path, paused, identity=identity)
            self._store("checkpoint", write)
        return self._make_quality(request, progress, seconds)

    def _make_quality(self, request: TrialRequest, progress: Progress, seconds: float) -> Quality:
        """Return what a training has come to."""
        return Quality(
            psnr_db=progress.curve[-1][1],
            base_db=self._open_base_db(),
            fidelity=request.until,
            train_seconds=seconds,
            restarts=progress.attempt,
            curve=tuple(progress.curve) if len(self.settings.fidelities) > 1 else (),
        )

    def _drop_checkpoint(self, path: Path | None) -> None:
        """Remove the checkpoint of a training that goes on no more; None: it keeps none."""
        if path:
            self._store("checkpoint", functools.partial(path.unlink, missing_ok=True))

    def _store(self, what: str, store: Callable[[], None]) -> None:
        """Store what is derived from a training, which stands whether that succeeds or not."""
        try:
            store()
        except Exception as error:
            self.notices.append(
                f"its {what} could not be stored ({type(error).__name__}: {error}); its result "
                "is kept"
            )

    def _identify_training(self, request: TrialRequest, purpose: tuple[str | int, ...]) -> str:
        """Return what tells a training from all others; a checkpoint goes on with an equal one."""
        seed = derived_seed(self.settings.seed, *purpose)
        parent = request.parent.arch_id if request.parent else self.settings.parent
        text = f"{request.spec.arch_id} {seed} {parent} {self.settings.proxy}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _read_progress(self, path: Path, identity: str, say: Say) -> Progress:
        """Read a checkpoint; one that is damaged is as good as none: the training begins anew."""
        try:
            return read_checkpoint(path, identity=identity) or Progress()
        except ValueError as error:
            say("training anew")
            self.notices.append(f"its checkpoint is damaged ({error}); it was trained anew")
            return Progress()

    def mean_db(self, upscale: Upscaler, role: str) -> float:
        """Return the mean PSNR over the images of a role, in dB; makes way before each image."""

        def upscale_in_turn(image: Tensor) -> Tensor:
            self._give_way()
            return upscale(image)

        return mean_db(per_image(upscale_in_turn, self.settings.sets[role], self.device))

    def open_patches(self) -> PatchStore:
        """Return the training patches: every candidate sees the same ones in the same order.

        Raises:
            MachineError: they need more memory than there is, which is not the network's fault.
        """
        if self._patches is None:
            settings = self.settings
            # Made before this worker was; an engine's host may not have it. The seed is the run's
            # alone, not the trial's.
            shared = settings.shared.folder if settings.shared else None
            try:
                self._patches = PatchStore(
                    settings.sets["train"],
                    seed=derived_seed(settings.seed, "patches"),
                    memory_mib=settings.memory_mib,
                    cache=settings.cache,
                    shared=shared,
                    progress=False,
                )
            except MemoryError as error:
                raise MachineError(f"the training images need too much memory ({error})") from error

        return self._patches

    def _open_trainer(
        self, request: TrialRequest, purpose: tuple[str | int, ...], progress: Progress
    ) -> StageTrainer:
        """Make the trainer of an attempt, as far as that has come."""
        config = self.settings.proxy
        seed = derived_seed(self.settings.seed, *purpose, progress.attempt)
        parent = self._open_parent(request.parent)
        trainer = start_proxy(
            request.spec,
            config,
            self.open_patches(),
            seed=seed,
            device=self.device,
            rate=progress.rate,
            start=parent.child(request.spec, seed=seed) if parent else None,
            parent=parent.upscaler.to(self.device) if parent and config.distill else None,
        )
        if progress.trainer:  # it goes on where it paused
            trainer.restore(progress.trainer)
        return trainer

    def _climb_rungs(
        self, trainer: StageTrainer, request: TrialRequest, progress: Progress, say: Say
    ) -> Network:
        """Train up to what is asked for; adds the PSNR at each fidelity to the progress's curve.

        Returns:
            The network with averaged weights.
        Raises:
            TrainingError: it diverged or got stuck.
        """
        # Rungs that an earlier session reached are in the curve already.
        for steps in self.settings.fidelities:
            if not trainer.done < steps <= request.until:
                continue
            trainer.run(steps, tell=say, give_way=self._give_way)
            say("validating")
            net = trainer.averaged()
            # Before its end a training may be no further than a filter, and not be stuck.
            is_end = steps == self.settings.proxy.steps
            psnr_db = self._validate_network(net, request.reference_db if is_end else None)
            progress.curve.append((steps, psnr_db))

        return net

    def _validate_network(self, net: Network, reference_db: float | None) -> float:
        """Return the PSNR on val, in dB.

        Args:
            reference_db: as in `TrialRequest`; None: the network is not called stuck.
        Raises:
            TrainingError: the PSNR is not finite, or the network has learned no more than a filter.
        """
        # The network is a residual: its image is the base plus what it adds.
        psnr_db = self.mean_db(OverBase(net), "val")
        if not math.isfinite(psnr_db):
            raise TrainingError("diverged", f"PSNR is {psnr_db}")
        if reference_db is None:
            return psnr_db

        # Where the baseline learned no more than a filter, the data or the steps are to blame.
        linear_db = self._open_linear_db()
        if psnr_db < linear_db + STUCK_MARGIN_DB < reference_db - STUCK_MARGIN_DB:
            raise TrainingError(
                "stuck",
                f"{psnr_db:.3f} dB is no better than a linear filter's {linear_db:.3f} dB",
            )

        return psnr_db

    def _open_parent(self, own: ArchSpec | None) -> Parent | None:
        """Return what a training starts from: `own`, a network of this run, or the search's parent.

        None: it starts from fresh weights.
        """
        settings = self.settings
        file = settings.parent
        # The network of a row goes before the parent of the whole search.
        if own is not None:
            file = ParentFile(spec=own, weights=weights_path(settings.run, own))
        if file is None:
            return None

        # Only the last parent is kept: a whole run's would fill the memory.
        if file not in self._parents:
            patches = self.open_patches()
            images, _ = patches.batch(CALIBRATION_STEP, NUM_IMAGES, patches.fitting_patch(SIDE))
            self._parents = {file: Parent(file, images)}

        return self._parents[file]

    def _open_base_db(self) -> float:
        """Return the PSNR of the bicubic base on val, in dB."""
        if self._base_db is None:
            scale = self.settings.scale
            self._base_db = self.mean_db(lambda x: bicubic_base(x, scale), "val")
        return self._base_db

    def _open_linear_db(self) -> float:
        """Return the PSNR of the best linear filter on val, in dB."""
        if self._linear_db is None:
            # Fitted in closed form to the training patches, judged on val as networks are.
            patches = self.open_patches()
            upscale = linear_filter(patches, self.device, patch=patches.fitting_patch(PATCH))
            self._linear_db = self.mean_db(upscale, "val")
        return self._linear_db


def _begin_again(progress: Progress, error: TrainingError) -> Progress:
    """Return the start of the next attempt; after a divergence its learning rates are lower."""
    # What got stuck may need another seed; what diverged needs smaller steps too.
    calmer = CALMER if error.kind == "diverged" else 1.0
    return Progress(
        attempt=progress.attempt + 1, rate=progress.rate * calmer, seconds=progress.seconds
    )


def _go_on() -> None:
    """Wait for no measurement."""
