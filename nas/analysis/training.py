"""A run of training as it was read from its folder: what its page and the terminal show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nas.score import Challenge
from nas.system.schema.schema_rules import Amount, Count, Decibels
from search_spaces.spec import ArchSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A training at one step.

    Attributes:
        stage: its segment's name.
        step: of all stages together.
        losses: mean value of each loss since the reading before, without its weight.
        rate: factor of the peak learning rates.
        seconds: of training so far.
        psnr_db: on val, of the averaged weights; None: it was not validated here.
    """

    stage: str
    step: Count
    losses: dict[str, float]
    rate: float
    seconds: Amount
    psnr_db: Decibels | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training of an architecture came to.

    Attributes:
        run: the training's run directory, as it was given.
        recipe: what it was trained by.
        steps, seconds: that it took, in all sessions.
        psnr_db: on val, of the network whose weights are kept.
        test_psnr_db: on test; None: no test images were given.
        val: fingerprint of the val images: figures on others do not compare.
        on_same_val: whether they are those of the search that found the architecture.
    """

    arch_id: str
    run: str
    recipe: str
    steps: Count
    seconds: Amount
    psnr_db: Decibels
    test_psnr_db: Decibels | None
    val: str
    on_same_val: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingState:
    """Everything that the page of a training is made from.

    Attributes:
        stages: steps of each segment by its name, in their order; empty before they are planned.
        readings: in the order of their steps.
        samples: PNG files that show the same crops, by what made them: HR, bicubic, a step.
        settings: are shown, never computed with.
        result: None while it trains.
    """

    name: str
    spec: ArchSpec
    recipe: str
    challenge: Challenge
    stages: Mapping[str, int]
    readings: Sequence[Reading]
    settings: Mapping[str, Any]
    samples: Mapping[str, bytes] = field(default_factory=dict)
    notices: Sequence[str] = ()
    result: Trained | None = None

    @property
    def num_steps(self) -> int:
        """Steps of all segments together; 0 before they are planned."""
        return sum(self.stages.values())

    @property
    def validated(self) -> list[Reading]:
        """The readings with a PSNR."""
        return [reading for reading in self.readings if reading.psnr_db is not None]
