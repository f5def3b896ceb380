"""What a run of training is made with, who watches it, and what it ends with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch

from nas.analysis.training import Reading
from nas.data.patches import PatchStore
from nas.data.sets import ImageSet
from nas.train.recipe.config import Recipe
from nas.train.run.plan import Segment
from search_spaces.network import Network
from search_spaces.spec import ArchSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """What is trained, on what and how.

    Attributes:
        folder: the run directory.
        sets: images by role: train, val.
        validations: of each segment, fewer where they would take too much of the hours.
        hours: that the whole training may take; None: as long as the recipe does.
        settings: hash of all that the result depends on, which the log keeps.
        speed: auto tries on a GPU what makes steps faster, plain nothing.
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
    speed: Literal["auto", "plain"] = "auto"


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
        """Take note of something that people should know, such as what went wrong and ended nothing."""
        ...


class Unwatched:
    """Watches nothing: of several processes the first one alone is watched."""

    def plan(self, segments: list[Segment]) -> None: ...

    def step(self, segment: Segment, done: int) -> None: ...

    def read(self, reading: Reading) -> None: ...

    def tell(self, notice: str) -> None: ...


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
