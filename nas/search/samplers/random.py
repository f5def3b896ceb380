"""sampler=random: uniform draws, the yardstick of the others."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from nas.search.model.candidates import Point
from nas.search.model.observations import Observations
from nas.search.samplers.base import Suggestion


@dataclass(frozen=True, slots=True, kw_only=True)
class Random:
    """Draws every decision uniformly, whatever is known."""

    picks_best = False

    def ask(
        self, observations: Observations, pending: Sequence[Point], *, seed: int
    ) -> Suggestion | None:
        """Return the next suggestion. See `Sampler.ask`."""
        rng = random.Random(seed)
        decisions = observations.candidates.decisions
        return Suggestion(
            params={decision.name: rng.randrange(decision.num_options) for decision in decisions}
        )
