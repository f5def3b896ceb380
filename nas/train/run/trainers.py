"""The trainers of a run: each stage's patches, teacher and network, put together."""

import copy
import functools
from collections.abc import Callable
from dataclasses import replace

from torch import Tensor, nn

from nas.data.patches import PatchStore
from nas.data.pixels.base import bicubic_base
from nas.system.seeds import derived_seed
from nas.train.distill.imitation import Imitation
from nas.train.recipe.config import Stage
from nas.train.run.config import TrainingConfig
from nas.train.run.handover import change_form, has_base
from nas.train.run.plan import Segment
from nas.train.speed.config import PLAIN, Speed
from nas.train.speed.device_patches import DeviceImages
from nas.train.start import CALIBRATION_STEP
from nas.train.team import Team
from nas.train.trainer import StageTrainer, TrainingError
from search_spaces.network import Network


class TrainerFactory:
    """Makes the trainers of a run's segments.

    Args:
        start: makes the network that the first stage starts from; it is told whether that is a
            residual over the base.
        teacher: what networks are distilled from; None: no stage distils.
        team: the processes that train together.
    """

    def __init__(
        self,
        config: TrainingConfig,
        *,
        start: Callable[[bool], Network],
        teacher: nn.Module | None,
        team: Team,
    ) -> None:
        self._config = config
        self._start = start
        self._teacher = teacher
        self._team = team
        self._images = DeviceImages.place(config.patches, config.device)

    def try_stages(self, net: Network) -> None:
        """Take a step of a patch of each shape of each stage, on a copy, before the first stage.

        Raises:
            ValueError: images are too small for a stage, or parts of it do not fit; it names it.
        """
        # Those that run: of a smoke run they are smaller ones. A repeated one is tried once.
        for index, (name, stage) in enumerate(dict(self._config.recipe.segments()).items()):
            patches = replace(stage.patches, batch_size=self._team.size, accumulate=1)
            single = replace(stage, patches=patches)
            segment = Segment(name=name, index=index, before=0, stage=single)
            try:
                trainer = self.open(copy.deepcopy(net), segment, PLAIN)
                for _ in trainer.shapes:
                    trainer.step()
            except TrainingError:  # its loss may be anything here
                continue
            except (ValueError, RuntimeError) as error:
                reason = str(error).splitlines()[0]
                raise ValueError(f"recipe.stages.{name}: {reason}") from None

    def open(self, net: Network, segment: Segment, speed: Speed) -> StageTrainer:
        """Make the trainer of a segment, which starts from a network and changes it."""
        config, device, stage = self._config, self._config.device, segment.stage
        seed = derived_seed(config.seed, "stage", segment.index)
        net = change_form(net, stage.form, seed=seed)
        shapes = stage.patches.lr_shapes(config.spec.scale)
        patches = self._choose_patches(stage)

        imitation = None
        if stage.distill:
            lr, _ = patches.batch(CALIBRATION_STEP, 1, shapes[0])
            imitation = self._imitate(net, stage, lr, seed=seed)

        shared = patches.with_seed(seed).with_share(self._team.rank, self._team.size)
        base = functools.partial(bicubic_base, scale=config.spec.scale)
        return StageTrainer(
            net,
            stage,
            self._images.cut(shared) if self._images else shared,
            shapes=shapes,
            device=device,
            base=base if has_base(config.spec, stage) else None,
            imitation=imitation,
            team=self._team,
            speed=speed,
        )

    def open_trial(self, segment: Segment, speed: Speed) -> StageTrainer:
        """Make a trainer of a segment on a network that is thrown away."""
        return self.open(self._start(has_base(self._config.spec, segment.stage)), segment, speed)

    def _choose_patches(self, stage: Stage) -> PatchStore:
        """Return the patches of the sources that a stage names."""
        patches = self._config.patches
        if stage.sources is None:
            return patches
        # A share of a source is drawn by the run's seed: the same images in each stage.
        return patches.with_sources(stage.sources, seed=self._config.seed)

    def _imitate(self, net: Network, stage: Stage, lr: Tensor, *, seed: int) -> Imitation:
        """Return what compares a network with the teacher in a stage."""
        if self._teacher is None:
            raise ValueError("distill: it needs a teacher, and none is given; give teacher=")
        device = self._config.device
        imitation = Imitation(self._teacher, stage.distill)
        imitation.fit_adapters(net.to(device), lr.to(device), seed=seed)
        return imitation
