"""Rates points by the acquisition.

Quality from a surrogate, costs exact or from a second surrogate.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.search.model.acquisition import Prediction
from nas.search.model.candidates import Point
from nas.search.model.incumbents import list_incumbents
from nas.search.model.observations import Observation, Observations, calibration_factor
from nas.search.model.surrogate import Surrogate, fit

Floats = npt.NDArray[np.float64]
MIN_OBSERVED = 3  # trained observations below which nothing is modelled
MAX_CANDIDATES = 6000  # that are looked at for a suggestion


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """What points are expected to bring, comparable within one rating; (N,) each.

    Attributes:
        values: of the acquisition.
        mean, std: of the quality, in dB.
        noise_db: standard deviation of one training around its mean.
    """

    values: Floats
    mean: Floats
    std: Floats
    noise_db: float


def rate_points(
    points: Sequence[Point],
    observations: Observations,
    pending: Sequence[Point],
    *,
    seed: int,
    is_certain: bool = False,
) -> Rating:
    """Rate points by what they are expected to bring.

    Args:
        pending: points that are being tried: they count as if they had come out as predicted.
        seed: of the corners at which a front of several costs is looked at.
        is_certain: rate as if each came out exactly as predicted.
    """
    candidates, acquisition = observations.candidates, observations.acquisition
    waiting = [candidates.canonical(point) for point in pending]
    surrogate = _fit_quality(observations, waiting)

    # Quality and costs of the points.
    mean, std = surrogate.predict(candidates.encode(points))
    widened = np.zeros(len(points)) if is_certain else std * calibration_factor(observations.rows)
    costs, spread = predict_costs(points, observations)

    # What is known: whole trainings of this run, and what is pending.
    finished = [row for row in observations.trained if row.number is not None and row.std == 0]
    known = [row.point for row in finished] + waiting
    known_mean, known_costs = np.zeros(0), dict.fromkeys(acquisition.needed, np.zeros(0))
    if known:
        known_mean = surrogate.means(candidates.encode(known))
        known_costs, _ = predict_costs(known, observations)

    values = acquisition.evaluate(
        Prediction(mean=mean, std=widened, costs=acquisition.add_score(costs), spread=spread),
        Prediction(
            mean=known_mean, std=np.zeros(len(known)), costs=acquisition.add_score(known_costs)
        ),
        seed=seed,
    )
    noise_db = math.hypot(surrogate.noise_std, observations.noise_db)
    return Rating(values=values, mean=mean, std=std, noise_db=noise_db)


def list_untried(observations: Observations, pending: Sequence[Point]) -> list[Point]:
    """List the candidates that are no row of the run and not being tried."""
    tried = observations.list_tried(pending)
    return [
        point
        for point in observations.candidates.list_points(list_best(observations))
        if point not in tried
    ]


def list_best(observations: Observations) -> list[Point]:
    """List the incumbents' points, around which candidates of a large space lie."""
    return [observations.candidates.canonical(row.point) for row in list_incumbents(observations)]


def subsample_points(points: list[Point], observations: Observations, seed: int) -> list[Point]:
    """Return as many candidates as are looked at for one suggestion, those around the best among
    them.
    """
    if len(points) <= MAX_CANDIDATES:
        return points
    near = {
        other
        for best in list_best(observations)
        for other in observations.candidates.neighbours(best)
    }
    drawn = random.Random(seed).sample(points, MAX_CANDIDATES)
    return sorted({*drawn, *(point for point in points if point in near)})


def predict_costs(
    points: Sequence[Point], observations: Observations
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Return the needed costs of points, and the spread of the logarithms of those that are
    predicted.
    """
    costs = observations.candidates.costs(points)
    spread: dict[str, Floats] = {}
    for name in observations.acquisition.needed:
        if name not in costs:
            costs[name], spread[name] = _predict_measured_cost(name, points, observations)
    return costs, spread


def _predict_measured_cost(
    name: str, points: Sequence[Point], observations: Observations
) -> tuple[Floats, Floats]:
    """Return one measured cost of points and the spread of its logarithm, 0 where it was read."""
    candidates = observations.candidates
    read: Mapping[Point, float] = {
        candidates.canonical(row.point): row.costs[name]
        for row in observations.rows
        if name in row.costs
    }
    values = np.array([read.get(candidates.canonical(point), np.nan) for point in points])
    std = np.zeros(len(points))

    # A process over the logarithms of what was read gives the rest.
    unread = np.flatnonzero(np.isnan(values))
    if len(unread):
        model = fit(candidates.encode(list(read)), np.log(list(read.values())))
        mean, std[unread] = model.predict(
            candidates.encode([points[int(place)] for place in unread])
        )
        values[unread] = np.exp(mean)
    return values, std


def _fit_quality(observations: Observations, waiting: Sequence[Point]) -> Surrogate:
    """Fit the surrogate of quality; pending points join with the mean that it gives them."""
    candidates, trained = observations.candidates, observations.trained
    inputs = candidates.encode([row.point for row in trained])
    outputs = np.array([row.quality for row in trained], dtype=np.float64)
    deviations = np.hypot([row.std for row in trained], observations.noise_db)
    surrogate = fit(inputs, outputs, deviations)
    if not waiting:
        return surrogate

    # Their neighbourhood is then less worth looking at.
    extra = candidates.encode(waiting)
    return fit(
        np.concatenate([inputs, extra]),
        np.concatenate([outputs, surrogate.means(extra)]),
        np.concatenate([deviations, np.zeros(len(waiting))]),
    )


def can_model(trained: Sequence[Observation]) -> bool:
    """Whether there are enough observations to fit a surrogate."""
    return len(trained) >= MIN_OBSERVED
