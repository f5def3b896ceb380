"""Who suggests architectures: the protocol that every sampler follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from nas.search.model.candidates import Point
from nas.search.model.observations import Observations, PredictedQuality


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """An architecture to try.

    Attributes:
        params: decision -> index into its options.
        predicted: what is predicted of its quality; None where nothing was modelled.
        max_deviations: it is measured, but not trained, where it would have to be better than
            predicted by more than so many standard deviations; None: it is trained in any case.
        notes: JSON that the sampler wants back with the trial (`ToldTrial.notes`), also after a
            restart.
    """

    params: Mapping[str, int]
    predicted: PredictedQuality | None = None
    max_deviations: float | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Sampler(Protocol):
    """Suggests the next architecture from what is known.

    A suggestion follows from the arguments alone: a search that was killed asks again and gets the
    same.

    Example:
        >>> class Cheapest:
        ...     picks_best = False
        ...
        ...     def ask(self, observations, pending, *, seed):
        ...         tried = observations.list_tried(pending)
        ...         points = [p for p in observations.candidates.list_points([]) if p not in tried]
        ...         if not points:
        ...             return None
        ...         params = observations.candidates.costs(points)["params"]
        ...         best = points[params.argmin()]
        ...         return Suggestion(params=observations.candidates.params(best))
        >>> isinstance(Cheapest(), Sampler)
        True
    """

    picks_best: bool
    """Whether a suggestion is the candidate that is expected to bring most.

    Rungs weigh new ones by it.
    """

    def ask(
        self, observations: Observations, pending: Sequence[Point], *, seed: int
    ) -> Suggestion | None:
        """Return the next suggestion; None: every candidate is known.

        Args:
            observations: all that is known, and the space's candidates.
            pending: points that are being tried.
            seed: of this suggestion: everything random follows from it.
        """


def default_population(planned_trials: int) -> int:
    """Return a population that gets some generations out of the trials asked for, from 8 to 50."""
    return min(50, max(8, planned_trials // 4))


def check_count(name: str, value: int | None, least: int) -> None:
    """Refuse a sampler's key that is below its least value.

    Raises:
        ValueError: it is.
    """
    if value is not None and value < least:
        raise ValueError(f"sampler.{name} must be at least {least}, got {value}")
