"""The rows that a candidate has to beat: the front, or the best so far."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.analysis.pareto import front
from nas.search.model.acquisition import QUALITIES, Prediction
from nas.search.model.candidates import Point
from nas.search.model.observations import Observation, Observations

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incumbent:
    """A trained row: its gain in dB, and all the costs that the acquisition needs, by name."""

    point: Point
    number: int
    gain_db: float
    costs: Mapping[str, float]


def list_trained_rows(observations: Observations) -> list[Incumbent]:
    """List the rows that were trained, paused ones with what they are expected to reach."""
    rows, _, costs = _tabulate_rows(observations, observations.rows)
    return _make_incumbents(rows, costs, range(len(rows)))


def list_incumbents(observations: Observations) -> list[Incumbent]:
    """List the rows of whole trainings that a candidate has to beat.

    These are the front, or the best network that passes.
    """
    rows, quality, costs = _tabulate_rows(
        observations, [row for row in observations.rows if row.std == 0]
    )
    if not rows:
        return []
    columns, passes = _judge_rows(observations, quality, costs)
    places = np.flatnonzero(passes)
    return _make_incumbents(rows, costs, places[front(columns[places])]) if len(places) else []


def count_dominators(observations: Observations, rows: Sequence[Incumbent]) -> list[int]:
    """Return by how many of the others each row is beaten.

    A row that breaks a limit is beaten by all rows that do not.
    """
    quality = np.array([row.gain_db for row in rows])
    costs = {name: np.array([row.costs[name] for row in rows]) for name in rows[0].costs}
    columns, passes = _judge_rows(observations, quality, costs)

    no_worse = (columns[:, None] <= columns[None]).all(axis=2)
    better = no_worse & (columns[:, None] < columns[None]).any(axis=2)
    beats = np.where(passes[:, None] == passes[None], better, passes[:, None])
    return [int(count) for count in beats.sum(axis=0)]


def keep_within_limits(observations: Observations, points: list[Point]) -> list[Point]:
    """Return the points whose exact costs keep the limits."""
    limits = observations.acquisition.limits
    costs = observations.candidates.costs(points)
    holds = np.ones(len(points), dtype=np.bool_)
    for name in limits.keys() & costs.keys():
        holds &= costs[name] <= limits[name]
    return [point for point, is_within in zip(points, holds, strict=True) if is_within]


def _tabulate_rows(
    observations: Observations, rows: Iterable[Observation]
) -> tuple[list[Observation], Floats, dict[str, Floats]]:
    """Return the trained rows, and of each, (N,), its quality and the costs that are needed."""
    trained = [row for row in rows if row.number is not None and row.quality is not None]
    if not trained:
        return [], np.zeros(0), {}

    acquisition = observations.acquisition
    costs = observations.candidates.costs([row.point for row in trained])
    for name in acquisition.needed:
        if name not in costs:
            costs[name] = np.array([row.costs[name] for row in trained], dtype=np.float64)
    quality = np.array([row.quality for row in trained], dtype=np.float64)
    return trained, quality, acquisition.add_score(costs)


def _judge_rows(
    observations: Observations, quality: Floats, costs: Mapping[str, Floats]
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return what is minimised, (N, K), and which rows keep limits and gate, (N,)."""
    acquisition = observations.acquisition
    known = Prediction(mean=quality, std=np.zeros(len(quality)), costs=costs)
    passes = acquisition.limit_probability(known) > 0.5
    least_db = {"score": acquisition.gate_db, "front": acquisition.floor_db, "psnr": None}[
        acquisition.goal
    ]
    if least_db is not None:
        passes &= quality >= least_db

    columns = [costs[name] for name in acquisition.costs]
    is_front_of_quality = acquisition.goal == "front" and set(acquisition.objectives) & set(
        QUALITIES
    )
    if acquisition.goal == "psnr" or is_front_of_quality:
        columns.append(-quality)
    return np.column_stack(columns), passes


def _make_incumbents(
    rows: Sequence[Observation], costs: Mapping[str, Floats], places: Iterable[int]
) -> list[Incumbent]:
    incumbents = []
    for place in places:
        row = rows[place]
        assert row.number is not None
        assert row.quality is not None
        known = {name: float(column[place]) for name, column in costs.items()}
        incumbents.append(
            Incumbent(point=row.point, number=row.number, gain_db=row.quality, costs=known)
        )
    return incumbents
