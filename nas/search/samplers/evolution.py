"""sampler=evolution: the best of a few late networks has a child with one decision changed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from nas.search.model.candidates import Point
from nas.search.model.incumbents import (
    Incumbent,
    count_dominators,
    keep_within_limits,
    list_trained_rows,
)
from nas.search.model.observations import Observations
from nas.search.samplers.base import Suggestion, check_count, default_population
from nas.search.samplers.start import pick_start

TOURNAMENT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Evolution:
    """Regularised evolution: the oldest networks die, whatever they are worth.

    Source: Real, Aggarwal, Huang and Le, Regularized Evolution for Image Classifier Architecture
        Search,
    AAAI 2019; with several objectives the fewest dominators win a tournament.

    Attributes:
        population: networks that are alive; None: a quarter of the trials asked for at first, from
            8 to 50.
        startup: networks that are spread over the space before there are children; None: the
            population.
    Raises:
        ValueError: a key is out of its range.
    """

    population: int | None
    startup: int | None
    picks_best = False

    def __post_init__(self) -> None:
        check_count("population", self.population, 2)
        check_count("startup", self.startup, 1)

    def ask(
        self, observations: Observations, pending: Sequence[Point], *, seed: int
    ) -> Suggestion | None:
        """Return the next suggestion; None: every candidate is known. See `Sampler.ask`."""
        candidates, rng = observations.candidates, random.Random(seed)
        population = self.population or default_population(observations.planned_trials)
        startup = self.startup or population
        tried = observations.list_tried(pending)
        rows = sorted(list_trained_rows(observations), key=lambda row: row.number)

        if rows and len(rows) + len(pending) >= startup:
            child = _breed(rows[-population:], observations, tried, rng)
            if child is not None:
                return Suggestion(params=candidates.params(child))

        # There are no parents yet, or all their children are known.
        untried = [point for point in candidates.list_points([]) if point not in tried]
        if not untried:
            return None
        return Suggestion(params=candidates.params(pick_start(untried, observations, startup, rng)))


def _breed(
    alive: Sequence[Incumbent], observations: Observations, tried: set[Point], rng: random.Random
) -> Point | None:
    """Return a child of the best of a few networks; None: none of them has a new one."""
    candidates = observations.candidates
    dominators = count_dominators(observations, alive)
    entrants = rng.sample(range(len(alive)), min(TOURNAMENT, len(alive)))

    # The winner's children first, then those of the second.
    for parent in sorted(entrants, key=lambda place: dominators[place]):
        near = dict.fromkeys(map(candidates.canonical, candidates.neighbours(alive[parent].point)))
        children = keep_within_limits(observations, [point for point in near if point not in tried])
        if children:
            return rng.choice(children)
    return None
