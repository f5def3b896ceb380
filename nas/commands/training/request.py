"""A training as it is asked for: what its keys name, before anything is opened."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from nas.cli.invocation import UsageError
from nas.commands.architectures import resolve_arch, split_pick
from nas.commands.training.events import check_tensorboard
from nas.commands.training.folder import has_begun, read_arch
from nas.data.config import DataConfig
from nas.score import Challenge
from nas.search.config import Composed
from nas.search.store.run_folder import run_directory
from nas.train.parent import ParentFile
from nas.train.recipe.config import Recipe, check_recipe
from nas.train.weights import find_spec, read_metadata, weights_path
from search_spaces.spec import ArchSpec

Init = Literal["scratch", "weights", "proxy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRequest:
    """A training as it is asked for, before anything is opened.

    Attributes:
        run: the run directory, a new one or one to go on with; None: a new one.
        arch: the architecture, as it was given.
        source: the weights that it starts from; None: fresh ones.
        top: of a front's member: the folder of all of them.
        hours, steps: that the stages are shortened to, alike; None: as long as the recipe.
        speed: whether what makes steps faster is tried.
        tensorboard: whether event files are written.
    """

    run: Path | None
    arch: str
    spec: ArchSpec
    recipe: Recipe
    source: ParentFile | None
    teacher: Path | None
    teacher_spec: ArchSpec | None
    hours: float | None
    steps: int | None
    validations: int
    seed: int
    device: torch.device
    speed: Literal["auto", "plain"]
    tensorboard: bool
    data: DataConfig
    challenge: Challenge
    composed: Composed
    top: Path | None = None

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("validations", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if self.hours is not None and not self.hours > 0:
            raise ValueError(f"hours must be above 0, got {self.hours:g}")
        if self.tensorboard:
            check_tensorboard()
        check_recipe(self.recipe, self.spec.scale, has_teacher=self.teacher is not None)

    @property
    def recipe_name(self) -> str:
        return str(self.composed.choices.get("recipe", "of its own"))


def resolve_spec(folder: Path | None, arch: str) -> ArchSpec:
    """Return the architecture: that of a training which goes on, whatever a pick means by now."""
    if folder is not None and run_directory.exists(folder):
        run_directory.stored_training(folder)
        return ArchSpec.from_dict(read_arch(folder).spec)
    return resolve_arch(arch)


def check_budget(
    arch: str, hours: float | None, budget_hours: float | None, *, is_front: bool
) -> None:
    """Refuse a budget of several trainings where one is trained, or beside hours of each."""
    if budget_hours is None:
        return
    if not is_front:
        raise UsageError(f"budget_hours is for arch=RUN:front, got arch={arch}; use hours=")
    if hours is not None:
        raise UsageError("budget_hours is for all members and hours for each; leave one out")
    if not budget_hours > 0:
        raise UsageError(f"budget_hours must be above 0, got {budget_hours:g}")


def check_lanes(arch: str, per_device: int, *, is_front: bool) -> None:
    """Refuse several trainings at a time where one is asked for."""
    if per_device < 1:
        raise UsageError(f"per_device must be at least 1, got {per_device}")
    if per_device > 1 and not is_front:
        raise UsageError(f"per_device is for arch=RUN:front, got arch={arch}; leave it out")


def find_source(
    folder: Path | None, arch: str, spec: ArchSpec, init: Init | None, weights: str | None
) -> ParentFile | None:
    """Return the weights that a training starts from; None: fresh ones.

    Raises:
        ValueError: init and weights do not go together, or a file is not there.
    """
    if init is None:
        init = "weights" if weights else "scratch"
    if init != "weights" and weights:
        raise UsageError(f"weights={weights} is for init=weights, and init is {init}")
    if init == "scratch" or (folder is not None and has_begun(folder)):
        return None
    if init == "weights":
        if not weights:
            raise UsageError("init=weights needs weights=FILE, .safetensors or .pth")
        return _read_source(Path(weights).expanduser(), spec)

    run_pick = split_pick(arch)
    if run_pick is None:
        raise UsageError(f"init=proxy needs arch=RUN:PICK, got arch={arch}; use init=weights")
    path = weights_path(run_pick[0], spec)
    if not path.is_file():
        raise ValueError(
            f"init=proxy: {run_pick[0]} keeps no proxy weights of {spec.arch_id}; a run keeps "
            "those of its front"
        )
    return ParentFile(spec=spec, weights=path)


def _read_source(path: Path, spec: ArchSpec) -> ParentFile:
    """Return a file of weights with its architecture: the one it names, or is recognised by.

    Raises:
        ValueError: it is of another scale, or cannot be read.
    """
    named = read_metadata(path).spec
    try:
        theirs = named or find_spec(path)
    except ValueError:
        theirs = spec  # a file without names of ours, by which it may still fit
    if theirs.scale != spec.scale:
        raise ValueError(f"weights={path} is of x{theirs.scale}, arch is of x{spec.scale}")
    return ParentFile(spec=theirs, weights=path)
