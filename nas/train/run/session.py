"""One session of `nas train`: a network goes through the stages of a recipe."""

import functools
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from torch import Tensor, nn

from nas.analysis.training import Reading
from nas.measure.quality import Upscaler, mean_db, per_image
from nas.system.held_signals import HeldSignals, holding_signals
from nas.train.proxy import OverBase
from nas.train.recipe.config import Stage
from nas.train.run.checkpoint import Checkpoint, Kept, read_checkpoint
from nas.train.run.chronicle import LAST, Chronicle
from nas.train.run.config import Outcome, TrainingConfig, Watcher
from nas.train.run.handover import has_base, make_whole
from nas.train.run.pace import fit_segments, replan, time_steps
from nas.train.run.plan import Segment, list_steps, list_validations, plan_segments, with_steps
from nas.train.run.trainers import TrainerFactory
from nas.train.speed.choice import choose_speed, describe_choice, list_candidates
from nas.train.speed.config import PLAIN, Speed
from nas.train.start import CALIBRATION_STEP
from nas.train.team import SOLO, Team
from nas.train.trainer import StageTrainer, TrainingError
from search_spaces.network import Network

SAVE_SECONDS = 60.0  # between two checkpoints, beside those at validations
# What a state of other names, shapes or kinds raises when it is taken up.
MISFITS = (KeyError, RuntimeError, ValueError, TypeError, AttributeError, IndexError)
NUM_ABSORBED, ABSORBED_SIDE = 120, 24  # patches on which a base is taken into a network


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
        watcher: is told how it goes.
        team: the processes that train together: the first writes and validates, and what it reads
            decides for all of them. One process alone by default.
    """

    def __init__(
        self,
        config: TrainingConfig,
        *,
        start: Callable[[bool], Network],
        teacher: nn.Module | None,
        watcher: Watcher,
        team: Team = SOLO,
    ) -> None:
        self.config = config
        self.start = start
        self.team = team
        self._best = _Best()
        self._kept: Kept | None = None  # in the file of weights
        self._segments: list[Segment] = []
        self._validations = config.validations  # of each segment
        self._paces: dict[str, float] = {}  # of each segment, where the time is limited
        self._speeds: dict[str, Speed] = {}  # of each stage
        self._losses: list[dict[str, float]] = []  # since the last reading
        self._chronicle = Chronicle(config, watcher, writes=team.is_first)
        self._trainers = TrainerFactory(config, start=start, teacher=teacher, team=team)
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
            self._speeds = checkpoint.read_speeds(config.device)
            self._kept = checkpoint.kept

        if checkpoint and checkpoint.segment >= len(self._segments):
            raise ValueError(f"{path}: it is no checkpoint of this recipe; remove it to train anew")

        # A checkpoint holds all weights of its segment: the start only gives the network its form.
        first = checkpoint.segment if checkpoint else 0
        net = self.start(has_base(config.spec, self._segments[first].stage))
        self._trainers.try_stages(net)
        choices = self._choose_speeds()
        if not checkpoint and config.hours is not None:
            self._fit_time(config.hours)
        self._chronicle.begin()
        self._chronicle.tell_plan(self._segments)
        for words in choices:
            self._chronicle.watcher.tell(words)

        for place in range(first, len(self._segments)):
            segment = self._segments[place]
            trainer = self._trainers.open(net, segment, self._speeds[segment.name])
            self._best = _Best()
            if checkpoint is not None and place == first:
                self._restore(trainer, checkpoint)
            self._train_segment(trainer, place)
            if place + 1 < len(self._segments):
                net = self._hand_over(trainer, segment.stage, self._segments[place + 1].stage)
        return self._finish(trainer, self._segments[-1])

    def _train_segment(self, trainer: StageTrainer, place: int) -> None:
        """Train to the end of a segment, or until it no longer rises; validate on the way."""
        if trainer.done == 0:
            self._validate(trainer, self._segments[place])  # where it starts from
        began, began_at = self._count_seconds(), trainer.done
        saved = time.monotonic()
        # A step that is cut off would leave weights that no checkpoint may hold.
        with holding_signals() as signals:
            segment = self._segments[place]
            validated = set(list_validations(segment, self._validations))
            early_stop = segment.stage.early_stop
            is_stopped = self._hear_signals(signals)
            while trainer.done < segment.stage.steps and not is_stopped:
                if early_stop and self._best.num_worse >= early_stop.patience:
                    self._stop_early(trainer, place)
                    return
                self._take_step(trainer, segment)
                is_validated = trainer.done in validated
                if is_validated:
                    self._validate(trainer, segment)
                    pace = (self._count_seconds() - began) / (trainer.done - began_at)
                    if self._paces and self._replan(trainer, place, pace):
                        self._chronicle.tell_plan(self._segments)
                        segment = self._segments[place]
                        validated = set(list_validations(segment, self._validations))

                is_stopped = self._hear_signals(signals)
                if is_validated or is_stopped or time.monotonic() - saved > SAVE_SECONDS:
                    self._save(trainer, segment)
                    saved = time.monotonic()
            # Whoever ends first would be missed by the one that still writes.
            self.team.wait()

    def _hear_signals(self, signals: HeldSignals) -> bool:
        """Return whether a signal asked any of the processes to end: all of them end then."""
        number = self.team.find_largest(signals.number)
        if number and not signals.came:
            signals.hold(number, None)
        return number > 0

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
        # Clocks of several processes differ: that of the first one counts.
        pace, left = self.team.share((pace, config.hours * 3600 - self._count_seconds()))
        changed = replan(
            self._segments,
            place,
            trainer.done,
            most=list_steps(plan_segments(config.recipe)),
            paces=self._paces,
            pace=pace,
            left=left,
        )
        self._segments = with_steps(self._segments, changed)
        trainer.stage = self._segments[place].stage
        return bool(changed)

    def _take_step(self, trainer: StageTrainer, segment: Segment) -> None:
        """Take one step and tell it; an error names the stage."""
        try:
            trainer.step()
        except TrainingError as error:
            raise TrainingError(error.kind, f"stage {segment.name}: {error.reason}") from None
        self._losses.append(trainer.losses)
        self._chronicle.watcher.step(segment, segment.before + trainer.done)

    def _validate(self, trainer: StageTrainer, segment: Segment) -> None:
        """Read the averaged network's PSNR on val, and keep the best one's weights."""
        stage = segment.stage
        psnr_db = self._read_db(lambda: self._open_upscaler(trainer, stage))
        reading = Reading(
            stage=segment.name,
            step=segment.before + trainer.done,
            losses=_average_losses(self._losses),
            rate=stage.schedule.factor(max(0, trainer.done - 1), stage.steps),
            seconds=self._count_seconds(),
            psnr_db=psnr_db,
        )
        self._losses = []
        self._chronicle.add(reading)

        best, early_stop = self._best, stage.early_stop
        least_db = early_stop.least_db if early_stop else 0.0
        is_best = best.psnr_db is None or psnr_db > best.psnr_db
        is_much_better = best.psnr_db is None or psnr_db > best.psnr_db + least_db
        best.num_worse = 0 if is_much_better else best.num_worse + 1
        if is_best:
            best.psnr_db = psnr_db
            best.weights = {name: value.clone() for name, value in trainer.average.items()}
            self._offer_weights(trainer, stage, psnr_db)
        if segment.index and not trainer.done:  # the stage before has shown its end
            return
        name = f"step {reading.step:,}"
        self._chronicle.keep_sample(name, lambda: self._open_upscaler(trainer, stage))

    def _read_db(self, open_upscaler: Callable[[], Upscaler]) -> float:
        """Return the PSNR of a network on val, in dB; of several processes the first reads it."""
        psnr_db = 0.0
        if self.team.is_first:
            images = per_image(open_upscaler(), self.config.sets["val"], self.config.device)
            psnr_db = mean_db(images)
        return self.team.share(psnr_db)

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
            self._chronicle.keep_weights(trainer.averaged(), over_base=over_base)
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
            speeds={name: asdict(speed) for name, speed in self._speeds.items()},
            device=self.config.device.type,
            best=best.weights,
            best_db=best.psnr_db,
            num_worse=best.num_worse,
            kept=self._kept,
            seconds=self._count_seconds(),
        )
        self._chronicle.save(checkpoint)

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

    def _choose_speeds(self) -> list[str]:
        """Choose how each segment is computed, where that is not known; return it in words."""
        candidates = list_candidates(self.config.device) if self.config.speed == "auto" else []
        if not candidates:
            self._speeds = {one.name: self._speeds.get(one.name, PLAIN) for one in self._segments}
            return []

        words = []
        for place, segment in enumerate(self._segments):
            if segment.name in self._speeds:
                continue
            # A stage that is repeated is tried once.
            equal = [one.name for one in self._segments[:place] if one.stage == segment.stage]
            if equal:
                self._speeds[segment.name] = self._speeds[equal[0]]
                continue
            # On networks of their own, which are thrown away.
            choice = choose_speed(
                functools.partial(self._trainers.open_trial, segment),
                candidates,
                steps=segment.stage.steps,
                team=self.team,
            )
            self._speeds[segment.name] = choice.speed
            words.append(f"stage {segment.name}: {describe_choice(choice)}")
        return words

    def _fit_time(self, hours: float) -> None:
        """Shorten the segments to what the time allows."""
        config = self.config
        for segment in self._segments:
            trainer = self._trainers.open_trial(segment, self._speeds[segment.name])
            stage = segment.stage
            self._paces[segment.name] = self.team.share(time_steps(trainer))
        start = time.perf_counter()
        self._read_db(lambda: self._open_upscaler(trainer, stage))
        validation_seconds = self.team.share(time.perf_counter() - start)

        plan = fit_segments(
            self._segments,
            hours,
            spent=self.team.share(self._count_seconds()),
            paces=self._paces,
            validation_seconds=validation_seconds,
            validations=config.validations,
        )
        self._segments = with_steps(self._segments, plan.steps)
        self._validations = plan.validations

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
        stage = segment.stage
        if self._best.weights:
            trainer.net.load_state_dict(self._best.weights)
        net = self._make_whole(trainer.net, stage)
        psnr_db = self._read_db(lambda: net)

        # An earlier stage may have come to a better one.
        kept = self._kept
        if kept and not kept.over_base and not psnr_db >= kept.psnr_db:
            net, psnr_db = self._chronicle.load_weights(net), kept.psnr_db
            state = {name: value.cpu() for name, value in net.state_dict().items()}
            net.load_state_dict(self.team.share(state))
        else:
            self._chronicle.keep_weights(net, over_base=False)
        return Outcome(
            net=net,
            weights=self._chronicle.weights,
            psnr_db=psnr_db,
            steps=segment.before + trainer.done,
            seconds=self._count_seconds(),
        )


def _average_losses(losses: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each loss over some steps; empty where there were none."""
    names = losses[0] if losses else ()
    return {name: statistics.fmean(step[name] for step in losses) for name in names}
