"""What a study is of: the rules of its rows, and a trial that is being evaluated."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from nas.analysis.ladder import RUNGS
from nas.analysis.lasting import LongerPlan
from nas.record import TrialRecord
from nas.score import Challenge
from nas.search.samplers.base import Suggestion
from search_spaces.spec import ArchSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRules:
    """What the rows of a study mean.

    Attributes:
        baseline: row 0.
        limits: upper limits by column.
        ladder_sizes: of the ladder, smallest first; the last is the baseline.
        ladder_seeds: trainings of each size.
        num_probes: first suggested trials that are trained to the end before a search ends.
        longer_plan: how long the ladder's sizes are trained a second time.
        planned_trials: how many trials the search is first asked for.
    """

    objectives: tuple[str, ...]
    limits: Mapping[str, float]
    challenge: Challenge
    baseline: ArchSpec
    ladder_sizes: tuple[str, ...] = RUNGS
    ladder_seeds: int
    num_probes: int = 0
    longer_plan: LongerPlan = field(default_factory=LongerPlan)
    planned_trials: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTrial:
    """An architecture that has a number and is being evaluated.

    Attributes:
        suggestion: of the sampler; None where the architecture was named to start with.
        record: what is known of one whose training paused, or that failed and is tried again; None
            of a new one.
        inherits: number of the row whose weights its training starts from.
        place: in the order of what was told; None where it has no suggestion.
    """

    number: int
    spec: ArchSpec
    suggestion: Suggestion | None
    record: TrialRecord | None = None
    inherits: int | None = None
    place: int | None = None


def steps_of(record: TrialRecord) -> int:
    """Return how far a trial was trained, in steps."""
    return record.quality.fidelity if record.quality else 0
