"""One session of `nas train`: a network goes through the stages of a recipe."""

import contextlib
import copy
import functools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from nas.analysis.training import Reading
from nas.data.patches import PatchStore
from nas.data.pixels.base import bicubic_base
from nas.data.sets import ImageSet
from nas.measure.quality import Upscaler, mean_db, per_image
from nas.system.held_signals import holding_signals
from nas.system.seeds import derived_seed
from nas.train.distill.imitation import Imitation
from nas.train.proxy import OverBase
from nas.train.recipe.config import Recipe, Stage
from nas.train.run.checkpoint import Checkpoint, Kept, read_checkpoint, write_checkpoint
from nas.train.run.handover import change_form, has_base, make_whole
from nas.train.run.keepsakes import Keepsakes
from nas.train.run.log import TrainingLog
from nas.train.run.pace import fit_segments, replan, time_steps
from nas.train.run.plan import Segment, list_steps, list_validations, plan_segments, with_steps
from nas.train.start import CALIBRATION_STEP
from nas.train.trainer import StageTrainer, TrainingError
from search_spaces.network import Network
from search_spaces.spec import ArchSpec

LAST = "checkpoints/last.pt"
SAVE_SECONDS = 60.0  # between two checkpoints, beside those at validations
# What a state of other names, shapes or kinds raises when it is taken up.
MISFITS = (KeyError, RuntimeError, ValueError, TypeError, AttributeError, IndexError)
NUM_ABSORBED, ABSORBED_SIDE = 120, 24  # patches on which a base is taken into a network


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """What is trained, on what and how.

    Attributes:
        folder: the run directory.
        sets: images by role: train, val.
        validations: of each segment, fewer where they would take too much of the hours.
        hours: that the whole training may take; None: as long as the recipe does.
        settings: hash of all that the result depends on, which the log keeps.
    """

    folder: Path
    spec: ArchSpec
    recipe: Recipe
    sets: Mapping[str, ImageSet]
    patches: PatchStore
    device: torch.device
    seed: int
    validations: int
    hours: float | None
    settings: str


class Watcher(Protocol):
    """Is told how a training goes."""

    def plan(self, segments: list[Segment]) -> None:
        """Take the plan, once it is known how many steps fit into the time."""
        ...

    def step(self, segment: Segment, done: int) -> None:
        """Take note of a step; `done` are those of all stages."""
        ...

    def read(self, reading: Reading) -> None:
        """Take note of a validation."""
        ...

    def tell(self, notice: str) -> None:
        """Take note of something that went wrong and ended nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a training ended with.

    Attributes:
        net: the network of the best validation, plain and whole, in evaluation mode.
        weights: the file that holds it.
        psnr_db: its PSNR on val.
        steps, seconds: that the training took, in all sessions.
    """

    net: Network
    weights: Path
    psnr_db: float
    steps: int
    seconds: float


@dataclass(slots=True, kw_only=True)
class _Best:
    """The best validation of a segment, and how many came after it."""

    weights: dict[str, Tensor] = field(default_factory=dict)
    psnr_db: float | None = None
    num_worse: int = 0


class TrainingSession:
    """Trains one network; a run that was stopped goes on to the same bits.

    Args:
        start: makes the network that the first stage starts from; it is told whether that is a
            residual over the base.
        teacher: what networks are distilled from; None: no stage distils.
    """

    def __init__(
        self,
        config: TrainingConfig,
        *,
        start: Callable[[bool], Network],
        teacher: nn.Module | None,
        watcher: Watcher,
    ) -> None:
        self.config = config
        self.start = start
        self.teacher = teacher
        self.watcher = watcher
        self._best = _Best()
        self._kept: Kept | None = None  # in the file of weights
        self._segments: list[Segment] = []
        self._validations = config.validations  # of each segment
        self._paces: dict[str, float] = {}  # of each segment, where the time is limited
        self._losses: list[dict[str, float]] = []  # since the last reading
        self._keepsakes = Keepsakes(config.folder, config.spec, config.sets["val"], config.device)
        self._seconds_before, self._began = 0.0, time.monotonic()

    def run(self) -> Outcome:
        """Train to the end, or on to it.

        Raises:
            TrainingError: a loss is not finite; the last checkpoint is from before that.
            ValueError: the checkpoint that is there cannot be read, or the time is too short.
        """
        config = self.config
        path = config.folder / LAST
        checkpoint = read_checkpoint(path) if path.exists() else None
        if checkpoint:
            self._seconds_before = checkpoint.seconds
        self._began = time.monotonic()

        # The steps of a checkpoint stand: with others its training would be another one.
        self._segments = plan_segments(config.recipe)
        if checkpoint:
            self._segments = with_steps(self._segments, checkpoint.steps)
            self._validations, self._paces = checkpoint.validations, checkpoint.paces
            self._kept = checkpoint.kept
        elif config.hours is not None:
            self._fit_time(config.hours)
        log = TrainingLog(config.folder, config.settings)
        self._tell_plan(log)
        with self._telling():
            self._keepsakes.keep_originals()

        if checkpoint and checkpoint.segment >= len(self._segments):
            raise ValueError(f"{path}: it is no checkpoint of this recipe; remove it to train anew")

        # A checkpoint holds all weights of its segment: the start only gives the network its form.
        first = checkpoint.segment if checkpoint else 0
        net = self.start(has_base(config.spec, self._segments[first].stage))
        self._try_stages(net)
        for place in range(first, len(self._segments)):
            segment = self._segments[place]
            trainer = self._open_trainer(net, segment.stage, place)
            self._best = _Best()
            if checkpoint is not None and place == first:
                self._restore(trainer, checkpoint)
            self._train_segment(trainer, place, log)
            if place + 1 < len(self._segments):
                net = self._hand_over(trainer, segment.stage, self._segments[place + 1].stage)
        return self._finish(trainer, self._segments[-1])

    def _train_segment(self, trainer: StageTrainer, place: int, log: TrainingLog) -> None:
        """Train to the end of a segment, or until it no longer rises; validate on the way."""
        if trainer.done == 0:
            self._validate(trainer, self._segments[place], log)  # where it starts from
        began, began_at = self._count_seconds(), trainer.done
        saved = time.monotonic()
        # A step that is cut off would leave weights that no checkpoint may hold.
        with holding_signals() as signals:
            segment = self._segments[place]
            validated = set(list_validations(segment, self._validations))
            early_stop = segment.stage.early_stop
            while trainer.done < segment.stage.steps and not signals.came:
                if early_stop and self._best.num_worse >= early_stop.patience:
                    self._stop_early(trainer, place)
                    return
                self._take_step(trainer, segment)
                if trainer.done in validated:
                    self._validate(trainer, segment, log)
                    pace = (self._count_seconds() - began) / (trainer.done - began_at)
                    if self._paces and self._replan(trainer, place, pace):
                        self._tell_plan(log)
                        segment = self._segments[place]
                        validated = set(list_validations(segment, self._validations))
                elif not signals.came and time.monotonic() - saved < SAVE_SECONDS:
                    continue
                self._save(trainer, segment)
                saved = time.monotonic()

    def _stop_early(self, trainer: StageTrainer, place: int) -> None:
        """End a segment here: it goes on from its best weights, and has had no more steps."""
        for name, value in trainer.average.items():
            value.copy_(self._best.weights[name])
        steps = {self._segments[place].name: trainer.done}
        self._segments = with_steps(self._segments, steps)

    def _replan(self, trainer: StageTrainer, place: int, pace: float) -> bool:
        """Change the steps that are left to what the time allows; return whether any changed."""
        config = self.config
        assert config.hours is not None
        changed = replan(
            self._segments,
            place,
            trainer.done,
            most=list_steps(plan_segments(config.recipe)),
            paces=self._paces,
            pace=pace,
            left=config.hours * 3600 - self._count_seconds(),
        )
        self._segments = with_steps(self._segments, changed)
        trainer.stage = self._segments[place].stage
        return bool(changed)

    def _tell_plan(self, log: TrainingLog) -> None:
        log.plan(list_steps(self._segments))
        self.watcher.plan(self._segments)

    def _take_step(self, trainer: StageTrainer, segment: Segment) -> None:
        """Take one step and tell it; an error names the stage."""
        try:
            trainer.step()
        except TrainingError as error:
            raise TrainingError(error.kind, f"stage {segment.name}: {error.reason}") from None
        self._losses.append(trainer.losses)
        self.watcher.step(segment, segment.before + trainer.done)

    def _validate(self, trainer: StageTrainer, segment: Segment, log: TrainingLog) -> None:
        """Read the averaged network's PSNR on val, and keep the best one's weights."""
        psnr_db = self._read_db(trainer, segment.stage)
        reading = Reading(
            stage=segment.name,
            step=segment.before + trainer.done,
            losses=_average_losses(self._losses),
            rate=segment.stage.schedule.factor(max(0, trainer.done - 1), segment.stage.steps),
            seconds=self._count_seconds(),
            psnr_db=psnr_db,
        )
        self._losses = []
        log.add(reading)
        self.watcher.read(reading)

        best, early_stop = self._best, segment.stage.early_stop
        least_db = early_stop.least_db if early_stop else 0.0
        is_best = best.psnr_db is None or psnr_db > best.psnr_db
        is_much_better = best.psnr_db is None or psnr_db > best.psnr_db + least_db
        best.num_worse = 0 if is_much_better else best.num_worse + 1
        if is_best:
            best.psnr_db = psnr_db
            best.weights = {name: value.clone() for name, value in trainer.average.items()}
            self._offer_weights(trainer, segment.stage, psnr_db)
        if segment.index and not trainer.done:  # the stage before has shown its end
            return
        with self._telling():
            upscale = self._open_upscaler(trainer, segment.stage)
            self._keepsakes.keep_sample(f"step {reading.step:,}", upscale)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Tell what could not be kept for people to look at: no training ends over it."""
        try:
            yield
        except OSError as error:
            self.watcher.tell(f"samples could not be kept: {error.strerror or error}")

    def _read_db(self, trainer: StageTrainer, stage: Stage) -> float:
        """Return the PSNR of the averaged network on val, in dB."""
        upscale = self._open_upscaler(trainer, stage)
        return mean_db(per_image(upscale, self.config.sets["val"], self.config.device))

    def _open_upscaler(self, trainer: StageTrainer, stage: Stage) -> Upscaler:
        """Return the averaged network, with the base where the stage trains a residual."""
        net = trainer.averaged()
        return OverBase(net) if has_base(self.config.spec, stage) else net

    def _offer_weights(self, trainer: StageTrainer, stage: Stage, psnr_db: float) -> None:
        """Keep the averaged weights as a file, where they are better than those that lie there.

        A network that gives whole images goes before one that needs the base, which is half of one.
        """
        over_base, kept = has_base(self.config.spec, stage), self._kept
        is_better = kept is None or (kept.over_base, -kept.psnr_db) > (over_base, -psnr_db)
        if is_better and math.isfinite(psnr_db):
            self._keepsakes.keep_weights(trainer.averaged(), over_base=over_base)
            self._kept = Kept(psnr_db=psnr_db, over_base=over_base)

    def _save(self, trainer: StageTrainer, segment: Segment) -> None:
        """Write a checkpoint.

        Raises:
            TrainingError: weights are no numbers any more; the checkpoint before stays.
        """
        if not all(value.isfinite().all() for value in trainer.net.state_dict().values()):
            raise TrainingError(
                "diverged", f"stage {segment.name}: weights are no numbers at step {trainer.done}"
            )
        best = self._best
        checkpoint = Checkpoint(
            segment=segment.index,
            trainer=trainer.state(),
            steps=list_steps(self._segments),
            validations=self._validations,
            paces=self._paces,
            best=best.weights,
            best_db=best.psnr_db,
            num_worse=best.num_worse,
            kept=self._kept,
            seconds=self._count_seconds(),
        )
        write_checkpoint(self.config.folder / LAST, checkpoint)

    def _restore(self, trainer: StageTrainer, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint.

        Raises:
            ValueError: it is none of this training.
        """
        try:
            trainer.restore(checkpoint.trainer)
            shapes = {name: value.shape for name, value in trainer.average.items()}
            best = {name: value.shape for name, value in checkpoint.best.items()}
            if best and best != shapes:
                raise ValueError("its best weights are another network's")
        except MISFITS as error:
            path = self.config.folder / LAST
            raise ValueError(
                f"{path}: it does not fit this training ({type(error).__name__}); remove it to "
                "train anew"
            ) from None
        self._best = _Best(
            weights=checkpoint.best,
            psnr_db=checkpoint.best_db,
            num_worse=checkpoint.num_worse,
        )

    def _count_seconds(self) -> float:
        """Return the seconds of training so far, those of earlier sessions too."""
        return self._seconds_before + time.monotonic() - self._began

    def _fit_time(self, hours: float) -> None:
        """Shorten the segments to what the time allows."""
        # Each stage is timed on a network of its own, which is thrown away.
        config, stages = self.config, {one.name: one.stage for one in self._segments}
        for index, (name, stage) in enumerate(stages.items()):
            trainer = self._open_trainer(self.start(has_base(config.spec, stage)), stage, index)
            self._paces[name] = time_steps(trainer)
        start = time.perf_counter()
        self._read_db(trainer, stage)

        plan = fit_segments(
            self._segments,
            hours,
            spent=self._count_seconds(),
            paces=self._paces,
            validation_seconds=time.perf_counter() - start,
            validations=config.validations,
        )
        self._segments = with_steps(self._segments, plan.steps)
        self._validations = plan.validations

    def _try_stages(self, net: Network) -> None:
        """Take a step of one patch of each shape of each stage, on a copy, before the first one.

        Raises:
            ValueError: images are too small for a stage, or parts of it do not fit; it names it.
        """
        # Those that run: of a smoke run they are smaller ones. A repeated one is tried once.
        for index, (name, stage) in enumerate(dict(self.config.recipe.segments()).items()):
            single = replace(stage, patches=replace(stage.patches, batch_size=1, accumulate=1))
            try:
                trainer = self._open_trainer(copy.deepcopy(net), single, index)
                for _ in trainer.shapes:
                    trainer.step()
            except TrainingError:  # its loss may be anything here
                continue
            except (ValueError, RuntimeError) as error:
                reason = str(error).splitlines()[0]
                raise ValueError(f"recipe.stages.{name}: {reason}") from None

    def _choose_patches(self, stage: Stage) -> PatchStore:
        """Return the patches of the sources that a stage names."""
        patches = self.config.patches
        if stage.sources is None:
            return patches
        # A share of a source is drawn by the run's seed: the same images in each stage.
        return patches.with_sources(stage.sources, seed=self.config.seed)

    def _imitate(self, net: Network, stage: Stage, lr: Tensor, *, seed: int) -> Imitation:
        """Return what compares a network with the teacher in a stage."""
        if self.teacher is None:
            raise ValueError("distill: it needs a teacher, and none is given; give teacher=")
        device = self.config.device
        imitation = Imitation(self.teacher, stage.distill)
        imitation.fit_adapters(net.to(device), lr.to(device), seed=seed)
        return imitation

    def _open_trainer(self, net: Network, stage: Stage, index: int) -> StageTrainer:
        """Make the trainer of a stage, which starts from a network.

        Args:
            index: place of the stage in the plan, from which its seed is derived.
        """
        config, device = self.config, self.config.device
        seed = derived_seed(config.seed, "stage", index)
        net = change_form(net, stage.form, seed=seed)
        shapes = stage.patches.lr_shapes(config.spec.scale)
        patches = self._choose_patches(stage)

        imitation = None
        if stage.distill:
            lr, _ = patches.batch(CALIBRATION_STEP, 1, shapes[0])
            imitation = self._imitate(net, stage, lr, seed=seed)

        base = functools.partial(bicubic_base, scale=config.spec.scale)
        return StageTrainer(
            net,
            stage,
            patches.with_seed(seed),
            shapes=shapes,
            device=device,
            base=base if has_base(config.spec, stage) else None,
            imitation=imitation,
        )

    def _hand_over(self, trainer: StageTrainer, stage: Stage, following: Stage) -> Network:
        """Return the network that the next stage starts from."""
        if following.start == "averaged":
            trainer.net.load_state_dict(trainer.average)
        if has_base(self.config.spec, stage) and not has_base(self.config.spec, following):
            return self._make_whole(trainer.net, stage)
        return trainer.net

    def _make_whole(self, net: Network, stage: Stage) -> Network:
        """Return the network that gives whole images, plain."""
        lr, _ = self.config.patches.batch(CALIBRATION_STEP - 2, NUM_ABSORBED, ABSORBED_SIDE)
        return make_whole(net, self.config.spec, stage, lr.to(self.config.device))

    def _finish(self, trainer: StageTrainer, segment: Segment) -> Outcome:
        """Return what the last stage ended with: its best network, whole."""
        config, stage = self.config, segment.stage
        if self._best.weights:
            trainer.net.load_state_dict(self._best.weights)
        net = self._make_whole(trainer.net, stage)
        psnr_db = mean_db(per_image(net, config.sets["val"], config.device))

        # An earlier stage may have come to a better one.
        kept = self._kept
        if kept and not kept.over_base and not psnr_db >= kept.psnr_db:
            net, psnr_db = self._keepsakes.load_weights().to(config.device), kept.psnr_db
        else:
            self._keepsakes.keep_weights(net, over_base=False)
        return Outcome(
            net=net,
            weights=self._keepsakes.weights,
            psnr_db=psnr_db,
            steps=segment.before + trainer.done,
            seconds=self._count_seconds(),
        )


def _average_losses(losses: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each loss over some steps; empty where there were none."""
    names = losses[0] if losses else ()
    return {name: statistics.fmean(step[name] for step in losses) for name in names}
