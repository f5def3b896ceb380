"""What a sampler learns from: a run's rows as points, and what the run is after."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from nas.search.model.acquisition import Acquisition
from nas.search.model.candidates import Candidates, Point

PRIOR_COUNT = 3  # predictions that are taken to have been right before any was checked
MAX_SQUARE = 25.0  # of one error over its deviation: one odd training does not make all unsure


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedQuality:
    """The quality that was predicted of a point when it was suggested, in dB."""

    mean: float
    std: float
    noise: float  # standard deviation of one training around its mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What came out at a point.

    Attributes:
        quality: in dB, where the network was trained; of a training that paused what it is expected
            to reach.
        costs: those that were measured.
        number: of the row; None where it is none of this run's rows (a ladder size, an earlier
            run), and may still be suggested.
        std: standard deviation of `quality`; above 0 of a training that paused.
        predicted: what was predicted of the quality when the point was suggested.
    """

    point: Point
    quality: float | None
    costs: Mapping[str, float]
    number: int | None
    std: float = 0.0
    predicted: PredictedQuality | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldTrial:
    """One suggestion and what was said of it, for samplers that keep a study of their own.

    Attributes:
        params: decision -> index.
        state: open while it runs; failed also where the network was suggested before and has no
            values.
        values: of the objectives, in their order; None unless complete.
        constraints: by name; above 0 where one is broken.
        notes: what the sampler noted with its suggestion (`Suggestion.notes`).
    """

    params: Mapping[str, int]
    state: Literal["open", "complete", "failed"]
    values: tuple[float, ...] | None = None
    constraints: Mapping[str, float] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """All that a sampler is given.

    Attributes:
        rows: the run's rows, ladder sizes and earlier runs' networks, as far as they are
            candidates.
        candidates: the space.
        acquisition: what the search is after.
        noise_db: standard deviation of one training's quality over seeds, as far as it is known.
        directions: of the objectives, `maximize` or `minimize`.
        told: every suggestion in its order, also those that were known already.
        planned_trials: how many trials the search was first asked for.
    """

    rows: Sequence[Observation]
    candidates: Candidates
    acquisition: Acquisition
    noise_db: float
    directions: tuple[str, ...]
    told: Sequence[ToldTrial]
    planned_trials: int

    @property
    def trained(self) -> list[Observation]:
        """The observations that hold a quality."""
        return [row for row in self.rows if row.quality is not None]

    def list_tried(self, pending: Sequence[Point]) -> set[Point]:
        """Return the points that must not be suggested.

        These are the rows of this run, and what is pending.
        """
        canonical = self.candidates.canonical
        rows = {canonical(row.point) for row in self.rows if row.number is not None}
        return rows | {canonical(point) for point in pending}


def calibration_factor(rows: Sequence[Observation]) -> float:
    """Return the factor (>= 1) that widens predicted standard deviations to match past errors.

    A process that was fitted to few observations is surer than it should be. The factor is the root
    of the mean square of error over deviation, over the observations of which something had been
    predicted.
    """
    squares = []
    for row in rows:
        if row.quality is None or row.predicted is None or row.predicted.std <= 0:
            continue
        variance = row.predicted.std**2 + row.predicted.noise**2 + row.std**2
        squares.append(min((row.quality - row.predicted.mean) ** 2 / variance, MAX_SQUARE))
    return max(1.0, math.sqrt((PRIOR_COUNT + sum(squares)) / (PRIOR_COUNT + len(squares))))
