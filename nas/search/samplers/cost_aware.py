"""sampler=cost_aware: only PSNR costs trainings; costs are exact, or learned from readings."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nas.search.model.candidates import Point
from nas.search.model.observations import Observations, PredictedQuality
from nas.search.model.rating import can_model, list_untried, rate_points, subsample_points
from nas.search.samplers.base import Suggestion, check_count
from nas.search.samplers.start import pick_start


@dataclass(frozen=True, slots=True, kw_only=True)
class CostAware:
    """Suggests the candidate that is expected to bring most to what the search is after.

    Attributes:
        startup: networks that are spread over the space before the models choose, the ladder's
            among them.
        screen: a candidate is not trained where its PSNR would have to exceed what is predicted by
            more than so many standard deviations; None: all are trained.
    Raises:
        ValueError: a key is out of its range.
    """

    startup: int
    screen: float | None
    picks_best = True

    def __post_init__(self) -> None:
        check_count("startup", self.startup, 1)
        if self.screen is not None and not self.screen > 0:
            raise ValueError(
                f"sampler.screen must be above 0, got {self.screen:g}; 3 is usual, null is none"
            )

    def ask(
        self, observations: Observations, pending: Sequence[Point], *, seed: int
    ) -> Suggestion | None:
        """Return the next suggestion; None: every candidate is known. See `Sampler.ask`."""
        untried = list_untried(observations, pending)
        if not untried:
            return None
        candidates, trained = observations.candidates, observations.trained

        # Too little is known to model anything: spread over the space.
        if len(trained) + len(pending) < self.startup or not can_model(trained):
            start = pick_start(untried, observations, self.startup, random.Random(seed))
            return Suggestion(params=candidates.params(start))

        return suggest_best(untried, observations, pending, seed=seed, screen=self.screen)


def suggest_best(
    untried: list[Point],
    observations: Observations,
    pending: Sequence[Point],
    *,
    seed: int,
    screen: float | None,
) -> Suggestion:
    """Suggest the point that is expected to bring most; where none brings anything, one at random.

    Args:
        untried: points to choose among, at least one.
        screen: see `CostAware`.
    """
    points = subsample_points(untried, observations, seed)
    rating = rate_points(points, observations, pending, seed=seed)
    if rating.values.max() > 0:
        best = int(np.argmax(rating.values))
    else:
        best = random.Random(seed).randrange(len(points))

    predicted = PredictedQuality(
        mean=float(rating.mean[best]), std=float(rating.std[best]), noise=rating.noise_db
    )
    return Suggestion(
        params=observations.candidates.params(points[best]),
        predicted=predicted,
        max_deviations=screen,
    )
