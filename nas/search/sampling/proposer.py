"""Cost-aware proposals: PSNR alone is learned from trainings, costs are exact or learned from readings."""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.analysis.pareto import front
from nas.search.sampling.aim import QUALITIES, Aim, Forecast
from nas.search.sampling.pool import Point, Pool
from nas.search.sampling.surrogate import fit

Floats = npt.NDArray[np.float64]
PRIOR_COUNT = 3  # forecasts that are taken to have been right before any was checked
MAX_SQUARE = 25.0  # of one error over its deviation: one odd training does not make all unsure
MIN_SEEN = 3  # observations below which nothing is modelled
MAX_CANDIDATES = 6000  # that are looked at for a proposal


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What came out at a point: `quality` in dB where it was trained, costs that were measured.

    What is no row of the run (number None: a rung of the ladder) is learned from, and may be proposed. Of a
    training that paused, quality is what it is expected to reach, with the standard deviation std. expected
    is what was said of the quality when the point was proposed: mean, standard deviation, noise.
    """

    point: Point
    quality: float | None
    costs: Mapping[str, float]
    number: int | None
    std: float = 0.0
    expected: tuple[float, float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A row that a candidate has to beat: a member of the front, or the best so far."""

    point: Point
    number: int
    gain_db: float
    costs: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A point to try, with mean, standard deviation and noise of the quality that is expected there.

    None before anything is modelled.
    """

    point: Point
    expected: tuple[float, float, float] | None = None


def stretch(seen: Sequence[Seen]) -> float:
    """By how much the deviations that were said were too small, at least 1.

    A process that was fitted to few observations is surer than it should be. How sure it may be shows in what
    came out where it had said something before: the root of the mean square of error over deviation.
    """
    squares = [
        min((one.quality - mean) ** 2 / (std**2 + noise**2 + one.std**2), MAX_SQUARE)
        for one in seen
        if one.quality is not None and one.expected is not None
        for mean, std, noise in [one.expected]
        if std > 0
    ]
    return max(1.0, math.sqrt((PRIOR_COUNT + sum(squares)) / (PRIOR_COUNT + len(squares))))


class Proposer:
    """Chooses the next point: the one that is expected to bring most to the aim."""

    def __init__(self, pool: Pool, aim: Aim, *, noise_db: float = 0.0) -> None:
        """Chooses for an aim.

        Args:
            noise_db: deviation of one training's quality over seeds, as far as it is known.
        """
        self.pool = pool
        self.aim = aim
        self.noise_db = noise_db

    def propose(
        self, seen: Sequence[Seen], pending: Iterable[Point], *, startup: int, seed: int
    ) -> Choice | None:
        """The next point; None where every candidate is known.

        Args:
            pending: points that are being tried.
            startup: points that are spread over the space before the models choose.
            seed: of this proposal: which candidates are looked at, and what breaks ties.
        """
        pool = self.pool
        waiting = [pool.canonical(point) for point in pending]
        trained = [one for one in seen if one.quality is not None]
        left, best = self._untried(seen, trained, waiting)
        if not left:
            return None
        rng = random.Random(seed)
        if len(trained) + len(waiting) < startup or len(trained) < MIN_SEEN:
            return Choice(point=self.start(left, startup, rng))
        return self._choose(self._few(left, best, rng), seen, trained, waiting, seed)

    def promotion(
        self,
        seen: Sequence[Seen],
        pending: Iterable[Point],
        paused: Mapping[Point, float],
        *,
        steps_new: float | None,
        takes_best: bool,
        seed: int,
    ) -> Point | None:
        """The paused training that is expected to bring most a step; None where a new one is worth more.

        Args:
            paused: points with the steps that are left to the end.
            steps_new: of a whole training; None: no new one is wanted, and one goes on while what is
                expected of it is not beaten.
            takes_best: whether a new one would be the best that is known of; else it is one at random.
        """
        pool, points = self.pool, list(paused)
        waiting = [pool.canonical(point) for point in pending]
        trained = [one for one in seen if one.quality is not None]
        left: list[Point] = []
        if steps_new is not None:
            left = self._few(*self._untried(seen, trained, waiting), random.Random(seed))
        asked = [*points, *left]
        gains, _ = self._gains(asked, seen, trained, waiting, seed, is_certain=steps_new is None)
        values = gains[: len(points)] / np.array([paused[point] for point in points])
        new = 0.0
        if left and steps_new is not None:
            others = gains[len(points) :]
            new = float(others.max() if takes_best else others.mean()) / steps_new
        place = int(np.argmax(values))
        return points[place] if values[place] > new else None

    def _untried(
        self, seen: Sequence[Seen], trained: Sequence[Seen], waiting: list[Point]
    ) -> tuple[list[Point], list[Point]]:
        """The candidates that are no row and not being tried, and the best rows, around which they lie."""
        tried = {self.pool.canonical(one.point) for one in seen if one.number is not None} | set(waiting)
        best = self._best(trained)
        return [point for point in self.pool.candidates(best) if point not in tried], best

    def _few(self, left: list[Point], best: list[Point], rng: random.Random) -> list[Point]:
        """As many candidates as are looked at for one proposal, those around the best among them."""
        if len(left) <= MAX_CANDIDATES:
            return left
        near = {near for one in best for near in self.pool.neighbours(one)}
        return sorted({*rng.sample(left, MAX_CANDIDATES), *(point for point in left if point in near)})

    def start(self, left: list[Point], startup: int, rng: random.Random) -> Point:
        """One of the points that are spread over the space, else one at random; in exact limits if any is."""
        allowed = dict.fromkeys(self.within_exact_limits(left) or left)
        spread = [point for point in self.pool.spread(startup) if point in allowed]
        return spread[0] if spread else rng.choice(list(allowed))

    def _choose(
        self,
        left: list[Point],
        seen: Sequence[Seen],
        trained: Sequence[Seen],
        waiting: list[Point],
        seed: int,
    ) -> Choice:
        gains, expected = self._gains(left, seen, trained, waiting, seed)
        best = int(np.argmax(gains)) if gains.max() > 0 else random.Random(seed).randrange(len(left))
        mean, std, noise = (float(column[best]) for column in expected)
        return Choice(point=left[best], expected=(mean, std, noise))

    def _gains(
        self,
        points: list[Point],
        seen: Sequence[Seen],
        trained: Sequence[Seen],
        waiting: list[Point],
        seed: int,
        *,
        is_certain: bool = False,
    ) -> tuple[Floats, tuple[Floats, Floats, Floats]]:
        """What points are expected to bring, comparable within one call; mean, std, noise of their quality.

        Args:
            is_certain: as if each came out as expected.
        """
        pool, aim = self.pool, self.aim
        inputs = pool.encode([one.point for one in trained])
        outputs = np.array([one.quality for one in trained], dtype=np.float64)
        spreads = np.hypot([one.std for one in trained], self.noise_db)
        surrogate = fit(inputs, outputs, spreads)
        if waiting:  # as if they had come out as expected: their neighbourhood is less worth looking at
            extra = pool.encode(waiting)
            surrogate = fit(
                np.concatenate([inputs, extra]),
                np.concatenate([outputs, surrogate.means(extra)]),
                np.concatenate([spreads, np.zeros(len(waiting))]),
            )
        mean, std = surrogate.predict(pool.encode(points))
        stretched = np.zeros(len(points)) if is_certain else std * stretch(seen)
        costs, spread = self._costs(points, seen)
        known = [one.point for one in trained if one.number is not None and one.std == 0] + waiting
        known_costs = dict.fromkeys(aim.needed, np.zeros(0))
        known_mean = np.zeros(0)
        if known:
            known_mean = surrogate.means(pool.encode(known))
            known_costs, _ = self._costs(known, seen)
        gains = aim.gain(
            Forecast(mean=mean, std=stretched, costs=aim.derive(costs), spread=spread),
            Forecast(mean=known_mean, std=np.zeros(len(known)), costs=aim.derive(known_costs)),
            seed=seed,
        )
        noise = math.hypot(surrogate.noise_std, self.noise_db)
        return gains, (mean, std, np.full(len(points), noise))

    def _costs(
        self, points: Sequence[Point], seen: Sequence[Seen]
    ) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """Costs of points, and the spread of the logarithms of those that are predicted."""
        found = self.pool.costs(points)
        spread: dict[str, Floats] = {}
        for name in self.aim.needed:
            if name in found:
                continue
            read = {self.pool.canonical(one.point): one.costs[name] for one in seen if name in one.costs}
            values = np.array([read.get(self.pool.canonical(point), np.nan) for point in points])
            std = np.zeros(len(points))
            unread = np.flatnonzero(np.isnan(values))
            if len(unread):
                model = fit(self.pool.encode(list(read)), np.log(list(read.values())))
                mean, std[unread] = model.predict(self.pool.encode([points[int(place)] for place in unread]))
                values[unread] = np.exp(mean)
            found[name], spread[name] = values, std
        return found, spread

    def rows(self, seen: Sequence[Seen]) -> list[Rival]:
        """The trained rows, with all the costs that the aim needs."""
        rows, _, costs = self._trained(seen)
        return _rivals(rows, costs, range(len(rows)))

    def rivals(self, seen: Sequence[Seen]) -> list[Rival]:
        """The rows that a candidate has to beat, of whole trainings: the front, or the best that passes."""
        rows, quality, costs = self._trained([one for one in seen if one.std == 0])
        if not rows:
            return []
        columns, kept = self._judged(quality, costs)
        places = np.flatnonzero(kept)
        return _rivals(rows, costs, places[front(columns[places])]) if len(places) else []

    def dominators(self, rows: Sequence[Rival]) -> list[int]:
        """By how many of the others each row is beaten; what breaks a limit is beaten by all that do not."""
        quality = np.array([one.gain_db for one in rows])
        costs = {name: np.array([one.costs[name] for one in rows]) for name in rows[0].costs}
        columns, kept = self._judged(quality, costs)
        no_worse = (columns[:, None] <= columns[None]).all(axis=2)
        better = no_worse & (columns[:, None] < columns[None]).any(axis=2)
        beats = np.where(kept[:, None] == kept[None], better, kept[:, None])
        return [int(count) for count in beats.sum(axis=0)]

    def _trained(self, seen: Sequence[Seen]) -> tuple[list[Seen], Floats, dict[str, Floats]]:
        """The trained rows, their quality and all the costs that the aim needs, (N,) each."""
        rows = [one for one in seen if one.number is not None and one.quality is not None]
        if not rows:
            return [], np.zeros(0), {}
        costs = self.pool.costs([one.point for one in rows])
        for name in self.aim.needed:
            if name not in costs:
                costs[name] = np.array([one.costs[name] for one in rows], dtype=np.float64)
        return rows, np.array([one.quality for one in rows], dtype=np.float64), self.aim.derive(costs)

    def _judged(self, quality: Floats, costs: Mapping[str, Floats]) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """What the aim minimises, (N, K), and which rows keep limits and gate, (N,)."""
        aim = self.aim
        kept = aim.within(Forecast(mean=quality, std=np.zeros(len(quality)), costs=costs)) > 0.5
        columns = [costs[name] for name in aim.costs]
        least = {"score": aim.gate_db, "front": aim.floor_db, "psnr": None}[aim.goal]
        if least is not None:
            kept &= quality >= least
        if aim.goal == "psnr" or (aim.goal == "front" and set(aim.objectives) & set(QUALITIES)):
            columns.append(-quality)
        return np.column_stack(columns), kept

    def _best(self, trained: Sequence[Seen]) -> list[Point]:
        return [self.pool.canonical(one.point) for one in self.rivals(trained)]

    def within_exact_limits(self, points: list[Point]) -> list[Point]:
        """The points whose exact costs keep the limits."""
        costs = self.pool.costs(points)
        holds = np.ones(len(points), dtype=np.bool_)
        for name in self.aim.limits.keys() & costs.keys():
            holds &= costs[name] <= self.aim.limits[name]
        return [point for point, one in zip(points, holds, strict=True) if one]


def _rivals(rows: Sequence[Seen], costs: Mapping[str, Floats], places: Iterable[int]) -> list[Rival]:
    found = []
    for place in places:
        one = rows[place]
        assert one.number is not None
        assert one.quality is not None
        known = {name: float(values[place]) for name, values in costs.items()}
        found.append(Rival(point=one.point, number=one.number, gain_db=one.quality, costs=known))
    return found
