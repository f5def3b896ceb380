"""The first points of a search, before anything is modelled."""

import random

from nas.search.model.candidates import Point
from nas.search.model.incumbents import keep_within_limits
from nas.search.model.observations import Observations


def pick_start(
    untried: list[Point], observations: Observations, startup: int, rng: random.Random
) -> Point:
    """Return one of the points that are spread over the space, else one at random.

    Points whose exact costs keep the limits come first.

    Args:
        untried: points to choose among, at least one.
        startup: how many points are spread over the space.
    """
    allowed = dict.fromkeys(keep_within_limits(observations, untried) or untried)
    spread = [point for point in observations.candidates.spread(startup) if point in allowed]
    return spread[0] if spread else rng.choice(list(allowed))
