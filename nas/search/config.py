"""What a search is asked for, in groups; each checks its own values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from nas.score import Challenge
from nas.search.backends.base import Backend, BackendParts, ReadingParts, Rules, TrainingParts
from nas.search.engines.base import Engine, Placement
from nas.search.model.acquisition import GoalWord
from nas.search.ranges import check_ranges
from nas.search.samplers.base import Sampler
from search_spaces.chooser import Space
from search_spaces.spec import ArchSpec

DEFAULT_TRIALS = 22
MAX_PATH = 1024  # characters of a run directory's path


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """When a search ends: after so many trials, after so many hours, or at whichever comes first.

    Attributes:
        trials: complete and failed trials to reach, earlier sessions' among them.
        hours: hours that this session may search.
        stop: plateau: also where the front has stopped growing (`nas.analysis.convergence`).
        confirm: how many rows whose place on the front is in doubt are measured and trained again
            at the end, with another seed.

    Example:
        >>> Budget.of(None, None, None, 0).trials
        22
    """

    trials: int | None
    hours: float | None
    stop: Literal["plateau"] | None = None
    confirm: int = 0

    def __post_init__(self) -> None:
        check_ranges({"trials": self.trials, "hours": self.hours, "confirm": self.confirm})

    @classmethod
    def of(
        cls, trials: int | None, hours: float | None, stop: Literal["plateau"] | None, confirm: int
    ) -> "Budget":
        """Return the budget that was asked for; where nothing ends it, the default trials do."""
        if trials is None and hours is None and stop is None:
            trials = DEFAULT_TRIALS
        return cls(trials=trials, hours=hours, stop=stop, confirm=confirm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Goals:
    """What is searched for, and what counts as having it.

    Attributes:
        objectives: one to four columns of `nas.analysis.columns.GOALS`.
        goal: what the cost-aware sampler is after.
        limits: upper limits by column; None is no limit.
        ladder_seeds: trainings of each size of the ladder.
        ladder_long: whether its sizes are trained longer, too, to see how far the data last.
    """

    objectives: tuple[str, ...]
    goal: GoalWord
    challenge: Challenge
    limits: Mapping[str, float | None]
    ladder_seeds: int
    ladder_long: bool

    def __post_init__(self) -> None:
        check_ranges(
            {
                "objectives": self.objectives,
                "limits": self.limits,
                "ladder_seeds": self.ladder_seeds,
            }
        )

    @property
    def rules(self) -> Rules:
        """The rules that a backend judges candidates by."""
        limits = {name: limit for name, limit in self.limits.items() if limit is not None}
        return Rules(
            challenge=self.challenge,
            limits=limits,
            ladder_seeds=self.ladder_seeds,
            ladder_long=self.ladder_long,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """Who evaluates candidates, and where.

    Attributes:
        backend: trainings, or a table of them.
        engine: where evaluations run, unless the backend brings its own.
        workers: how many; None: as many as the engine finds right.
        device: of workers that their engine gives none of their own.
        table: of the backend that looks results up.
    """

    backend: Backend
    engine: Engine
    workers: int | None
    device: torch.device
    table: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """What a search begins with.

    Attributes:
        start: architectures that are tried first; they may lie outside the space.
        warm_start: run directories whose results are learned from.
        inherit: whether candidates start from weights of this run.
        retry: failed: rows of the run that failed are evaluated again, under their numbers.
    """

    start: Sequence[ArchSpec] = ()
    warm_start: Sequence[Path] = ()
    inherit: bool = False
    retry: Literal["failed"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """A configuration as plain values, which the run directory keeps.

    Attributes:
        config: what was composed; a run goes on with an equal one alone.
        choices: what was chosen in each group.
        overrides: as they were typed, for people to read.
    """

    config: Mapping[str, Any]
    choices: Mapping[str, Any] = field(default_factory=dict)
    overrides: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """A search as it is asked for, before anything is opened or measured.

    `nas.commands.search.configure` makes one from the keys of `nas search`, whose defaults are in
    conf/.

    Attributes:
        run: the run directory, a new one or one to go on with; None: a new one that is named by the
            time and by `name`.
        name: ends the name of a run directory that was not named.
        seed: of everything random.
        scale: upscale factor.
    """

    run: Path | None
    name: str
    seed: int
    scale: int
    space: Space
    sampler: Sampler
    goals: Goals
    budget: Budget
    training: TrainingParts
    reading: ReadingParts
    execution: Execution
    prior: Prior
    composed: Composed

    def __post_init__(self) -> None:
        check_ranges({"seed": self.seed, "time_cap": self.training.time_cap})
        if len(str(self.run)) > MAX_PATH:
            raise ValueError(
                f"run must be a path of at most {MAX_PATH} characters, got {len(str(self.run))}"
            )

        if self.prior.retry and self.run is None:
            raise ValueError("retry=failed goes on with a run; name it with run=")

        # Two answers to one question: what a candidate's training starts from.
        other = self.execution.backend.why_not_inherit
        if self.training.parent:
            other = "parent"
        if self.prior.inherit and other:
            raise ValueError(
                f"inherit=true says what candidates start from, and so does {other}; leave one out"
            )

    def make_placement(self) -> Placement:
        """Place the workers that are wanted; ValueError where the engine cannot have so many."""
        return self.execution.engine.place_workers(
            self.execution.workers, self.execution.device.type
        )

    def make_parts(self, placement: Placement) -> BackendParts:
        """Return what a backend is opened with; the run directory has a name by then."""
        assert self.run is not None
        return BackendParts(
            run=self.run,
            device=self.execution.device,
            placement=placement,
            seed=self.seed,
            scale=self.scale,
            space=self.space,
            table=self.execution.table,
            training=self.training,
            reading=self.reading,
            rules=self.goals.rules,
        )
