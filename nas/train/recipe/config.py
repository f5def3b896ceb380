"""A recipe: stages that follow one another, each a training with settings of its own."""

import fnmatch
import itertools
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from nas.data.patches.uses import SourceUse, check_uses, describe_uses
from nas.losses.base import Loss
from nas.train.distill.terms import DistillTerm
from nas.train.recipe.optimizers import OptimizerConfig
from nas.train.recipe.schedules import Schedule

Side = int | tuple[int, int]  # of a patch: a square's, or height and width
SMOKE_STEPS, SMOKE_BATCH, SMOKE_SIDE = 3, 2, 24  # with recipe.smoke=true; in LR pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Patches:
    """The patches of a step.

    Attributes:
        lr, hr: shapes in pixels of LR or of HR, one of which is drawn for each step; one of the
            two is given, the other is null.
        batch_size: patches in a step.
        accumulate: batches whose gradients are added up for a step.
    """

    lr: list[Side] | None
    hr: list[Side] | None
    batch_size: int
    accumulate: int

    def __post_init__(self) -> None:
        if (self.lr is None) == (self.hr is None) or not (self.lr or self.hr):
            raise ValueError(
                f"patches: give shapes of lr or of hr, the other is null; got lr={self.lr}, "
                f"hr={self.hr}"
            )
        for side in self.lr or self.hr or ():
            if min(_as_shape(side)) < 1:
                raise ValueError(f"patches: a side must be at least 1 pixel, got {side}")
        for name in ("batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def lr_shapes(self, scale: int) -> list[tuple[int, int]]:
        """Return height and width of the LR patches.

        Raises:
            ValueError: a side of HR is no multiple of the scale.
        """
        if self.lr is not None:
            return [_as_shape(side) for side in self.lr]
        shapes = [_as_shape(side) for side in self.hr or ()]
        for height, width in shapes:
            if height % scale or width % scale:
                raise ValueError(
                    f"patches.hr: {height}x{width} is no multiple of the scale {scale}; a recipe "
                    f"for x{scale} needs other sides"
                )
        return [(height // scale, width // scale) for height, width in shapes]


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStop:
    """Ends a stage whose validation no longer rises.

    Attributes:
        patience: validations without a better one.
        least_db: by which a better one has to be better.
    """

    patience: int
    least_db: float

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ValueError(f"patience must be at least 1, got {self.patience}")
        if not self.least_db >= 0:
            raise ValueError(f"least_db must be at least 0, got {self.least_db:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One training: it starts from the weights of the stage before it, with a new optimizer.

    Attributes:
        steps: of the optimizer.
        repeats: how often the stage is run, each time from its own result.
        sources: names of data sources and how they are used; null: all, as the data say.
        patches: sizes and number of what a step sees.
        losses: terms against the HR image, by name.
        distill: terms against the teacher, by name; they need a teacher.
        optimizer, schedule: learning rates and their course along the stage.
        ema: decay of the averaged weights, which are validated and handed on; it warms up.
        clip: largest norm of all gradients together; null: any.
        form: train computes convolutions from training branches where the spec names them; plain
            trains their kernels.
        base: bicubic trains what the network adds to bicubic pixels, where its last layers can take
            these over afterwards, which they do at the end of the stage; none trains whole images.
        frozen: patterns of parameter names that are not trained, such as blocks.*.
        start: what a stage takes over from the one before it: averaged or raw weights.
        early_stop: null: the stage runs to its end.
        lacks: what the source of the recipe does here and this version does not; told at the start.
    """

    steps: int
    patches: Patches
    losses: dict[str, Loss]
    optimizer: OptimizerConfig
    schedule: Schedule
    ema: float
    clip: float | None
    form: Literal["train", "plain"]
    base: Literal["bicubic", "none"] = "none"
    repeats: int = 1
    sources: dict[str, SourceUse] | None = None
    distill: dict[str, DistillTerm] = field(default_factory=dict)
    frozen: list[str] = field(default_factory=list)
    start: Literal["averaged", "raw"] = "averaged"
    early_stop: EarlyStop | None = None
    lacks: str = ""

    def __post_init__(self) -> None:
        for name in ("steps", "repeats"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.losses and not self.distill:
            raise ValueError("losses is empty, and so is distill: there is nothing to train for")
        self._check_names()
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be at least 0 and below 1, got {self.ema:g}")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip must be above 0, got {self.clip:g}; null clips nothing")
        if self.sources is not None:
            check_uses(self.sources)

    def _check_names(self) -> None:
        # Both have a weight and can be called: only what a teacher's layers are tells them apart.
        for name, loss in self.losses.items():
            if hasattr(loss, "layers"):
                raise ValueError(
                    f"losses.{name}: a {type(loss).__name__} compares with a teacher; it belongs "
                    "under distill"
                )
        both = ", ".join(self.losses.keys() & self.distill.keys())
        if both:
            raise ValueError(f"losses and distill both have {both}; give one another name")

    def is_frozen(self, name: str) -> bool:
        """Return whether a parameter keeps its value in this stage."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.frozen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network is trained, from its start to the weights that are used.

    Attributes:
        stages: by name, in their order.
        scale: of the networks that it is for; null: any.
        smoke: run every stage for a few steps on small patches, to see that it works.
        source: where its values come from, in words.
        teacher: what its stages are distilled from, in words; empty: nothing.
    """

    stages: dict[str, Stage]
    scale: int | None
    smoke: bool
    source: str
    teacher: str = ""

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("stages is empty; a recipe has one stage at least")
        dotted = next((name for name in self.stages if "." in name), None)
        if dotted is not None:
            raise ValueError(f"stages: a name holds no dot, got {dotted!r}")

        # A network that gives whole images is no residual any more.
        bases = [(name, stage.base) for name, stage in self.stages.items()]
        for (before, first), (name, base) in itertools.pairwise(bases):
            if first == "none" and base == "bicubic":
                raise ValueError(
                    f"stages.{name}.base is bicubic after {before}, which trains whole images; "
                    f"use stages.{name}.base=none"
                )

    def segments(self) -> Iterator[tuple[str, Stage]]:
        """Yield the stages in the order in which they run, a repeated one several times."""
        for name, stage in self.stages.items():
            for _ in range(stage.repeats):
                yield name, _shorten(stage) if self.smoke else stage

    def without_base(self) -> "Recipe":
        """Return the recipe with stages that train whole images."""
        stages = {name: replace(stage, base="none") for name, stage in self.stages.items()}
        return replace(self, stages=stages)

    @property
    def num_steps(self) -> int:
        """Steps of all stages together."""
        return sum(stage.steps for _, stage in self.segments())

    def planned(self, steps: Mapping[str, int]) -> "Recipe":
        """Return the recipe with other steps of its stages, by name."""
        stages = {
            name: replace(stage, steps=steps.get(name, stage.steps))
            for name, stage in self.stages.items()
        }
        return replace(self, stages=stages)

    def scaled(self, steps: int) -> "Recipe":
        """Return the recipe with as many steps in all; stages keep their shares."""
        total = sum(stage.steps * stage.repeats for stage in self.stages.values())
        return self.planned(
            {
                name: max(1, round(stage.steps * steps / total))
                for name, stage in self.stages.items()
            }
        )

    @property
    def needs_teacher(self) -> bool:
        return any(stage.distill for stage in self.stages.values())

    def describe_sources(self, sources: Collection[str]) -> list[str]:
        """Say for each stage where the sources that it names and those of the data differ."""
        differences = {
            name: describe_uses(stage.sources, sources)
            for name, stage in self.stages.items()
            if stage.sources is not None
        }
        return [f"stage {name}: {words}" for name, words in differences.items() if words]


def check_recipe(recipe: Recipe, scale: int, *, has_teacher: bool) -> None:
    """Refuse a recipe that does not fit a network, before anything is trained.

    Args:
        scale: of the network.
        has_teacher: whether there is a network to distil from.
    Raises:
        ValueError: the message starts with recipe.
    """
    if recipe.scale not in (None, scale):
        raise ValueError(
            f"recipe: it is for networks of x{recipe.scale}, arch is of x{scale}; take "
            "recipe=default, or change its patches and recipe.scale"
        )
    for name, stage in recipe.stages.items():
        try:
            stage.patches.lr_shapes(scale)
        except ValueError as error:
            raise ValueError(f"recipe.stages.{name}.{error}") from None
        if stage.distill and not has_teacher:
            advised = f" ({recipe.teacher})" if recipe.teacher else ""
            raise ValueError(
                f"recipe.stages.{name}.distill: it needs a teacher{advised}, and none is given; "
                "give teacher=FILE, or take a recipe that does not distil"
            )


def _shorten(stage: Stage) -> Stage:
    """Return a stage of a few steps, a small batch and small patches; all else is as it was."""
    patches = replace(
        stage.patches,
        lr=_shrink(stage.patches.lr, SMOKE_SIDE),
        # Of x4 these are the same as in LR; at other scales they are as many HR pixels.
        hr=_shrink(stage.patches.hr, 4 * SMOKE_SIDE),
        batch_size=min(stage.patches.batch_size, SMOKE_BATCH),
        accumulate=1,
    )
    return replace(stage, steps=SMOKE_STEPS, patches=patches, early_stop=None)


def _shrink(sides: list[Side] | None, largest: int) -> list[Side] | None:
    """Return small patches of about the same shapes; those that are small already are as they were.

    Args:
        largest: the longer side of what is returned, in pixels. The shorter is half of it at least,
            since some networks pad their images by more pixels than a thin patch has.
    """
    if sides is None:
        return None
    small: list[Side] = []
    for side in sides:
        height, width = _as_shape(side)
        factor = min(1.0, largest / max(height, width))
        small.append((_round_side(height, factor, largest), _round_side(width, factor, largest)))
    return small


def _round_side(side: int, factor: float, largest: int) -> int:
    """Return a side times a factor, as a multiple of every scale."""
    if factor == 1:
        return side
    common = 12  # of 2, 3 and 4
    return min(side, max(largest // 2, common * round(side * factor / common)))


def _as_shape(side: Side) -> tuple[int, int]:
    return (side, side) if isinstance(side, int) else side
