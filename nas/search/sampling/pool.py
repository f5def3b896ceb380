"""The candidates of a space as arrays: the options each one takes, how models see it, what it costs."""

import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from optuna.distributions import IntDistribution
from scipy.stats import qmc

from nas.search.sampling.decisions import MAX_LISTED, Distributions, num_options

Floats = npt.NDArray[np.float64]
Point = tuple[int, ...]  # an index into the options of each decision, in the space's order
NUM_DRAWN = 3000  # of a large space; the rest of its candidates are neighbours of what is good


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What is known of a point without training: points of one name are one architecture."""

    name: str
    costs: Mapping[str, float]  # exact, above 0, the same keys for every candidate


class Pool:
    """Every architecture of a small space, or of a large one a fixed sample and what lies around the best.

    Args:
        space: every decision.
        describe: parameters -> name and exact costs; called once a point.
        seed: of what is drawn: the sample of a large space, the points to start with.
    """

    def __init__(
        self, space: Distributions, describe: Callable[[Mapping[str, int]], Candidate], *, seed: int
    ) -> None:
        self.space = dict(space)
        self.names = tuple(space)
        self.sizes = tuple(num_options(distribution) for distribution in space.values())
        self._ordinal = [isinstance(distribution, IntDistribution) for distribution in space.values()]
        self._describe = describe
        self._known: dict[Point, Candidate] = {}
        self._canonical: dict[str, Point] = {}
        self._near: dict[Point, tuple[Point, ...]] = {}
        # What a point is like never changes: it is put into a table when models first ask for it.
        self._places: dict[Point, int] = {}
        self._encoded: Floats = np.zeros((0, 0))
        self._costs: dict[str, Floats] = {}
        self._seed = seed
        self._start: list[Point] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether every point of the space is a candidate."""
        return math.prod(self.sizes) <= MAX_LISTED

    def candidate(self, point: Point) -> Candidate:
        if point not in self._known:
            found = self._describe(dict(zip(self.names, point, strict=True)))
            self._known[point] = found
            self._canonical.setdefault(found.name, point)
        return self._known[point]

    def canonical(self, point: Point) -> Point:
        """The point that stands for all those of its name."""
        return self._canonical[self.candidate(point).name]

    def find(self, name: str) -> Point | None:
        """The point of a name, if it is a candidate that was looked at."""
        self._open()
        return self._canonical.get(name)

    def candidates(self, best: Iterable[Point]) -> list[Point]:
        """A point a candidate.

        Args:
            best: points whose neighbours join in where the space is large.
        """
        start = self._open()
        if self.is_whole:
            return list(start)
        near = itertools.chain.from_iterable(map(self._canonical_neighbours, best))
        return list(dict.fromkeys([*start, *near]))

    def spread(self, count: int) -> list[Point]:
        """Points that take the options of every decision about equally often: a Latin hypercube."""
        places = qmc.LatinHypercube(len(self.sizes), rng=self._seed).random(count)
        return [self.canonical(tuple(map(int, row * np.array(self.sizes)))) for row in places]

    def neighbours(self, point: Point) -> Iterator[Point]:
        """Points that differ in one decision."""
        for place, size in enumerate(self.sizes):
            for option in range(size):
                if option != point[place]:
                    yield (*point[:place], option, *point[place + 1 :])

    def encode(self, points: Sequence[Point]) -> Floats:
        """What models see of points, (N, E): the rank of ordered options, one column for each other option,
        and the logarithms of exact costs, all within about [0, 1].
        """
        places = self._look_up(points)
        return self._encoded[places]

    def costs(self, points: Sequence[Point]) -> dict[str, Floats]:
        """Exact costs by name, (N,) each."""
        places = self._look_up(points)
        return {name: values[places] for name, values in self._costs.items()}

    def params(self, point: Point) -> dict[str, int]:
        return dict(zip(self.names, point, strict=True))

    def point(self, params: Mapping[str, int]) -> Point:
        return tuple(map(params.__getitem__, self.names))

    def _canonical_neighbours(self, point: Point) -> tuple[Point, ...]:
        if point not in self._near:
            self._near[point] = tuple(map(self.canonical, self.neighbours(point)))
        return self._near[point]

    def _look_up(self, points: Sequence[Point]) -> npt.NDArray[np.intp]:
        """The rows of points in the table, (N,)."""
        try:
            return np.fromiter(map(self._places.__getitem__, points), dtype=np.intp, count=len(points))
        except KeyError:
            self._add([point for point in dict.fromkeys(points) if point not in self._places])
            return self._look_up(points)

    def _add(self, points: list[Point]) -> None:
        """Put points that are not in the table there."""
        found = [self.candidate(point).costs for point in points]
        costs = {name: np.array([one[name] for one in found], dtype=np.float64) for name in found[0]}
        encoded = np.hstack([self._ranks(points), *(np.log(values)[:, None] for values in costs.values())])
        if self._places:
            encoded = np.concatenate([self._encoded, encoded])
            costs = {name: np.concatenate([self._costs[name], values]) for name, values in costs.items()}
        self._encoded, self._costs = encoded, costs
        self._places |= {point: place for place, point in enumerate(points, start=len(self._places))}

    def _ranks(self, points: Sequence[Point]) -> Floats:
        """Ordered options as ranks in [0, 1], others as one column each."""
        indices = np.array(points, dtype=np.intp)
        columns: list[Floats] = []
        for place, size in enumerate(self.sizes):
            values = indices[:, place]
            if self._ordinal[place] or size <= 2:
                columns.append(values[:, None] / max(1, size - 1))
            else:
                columns.append(np.eye(size)[values] / math.sqrt(2))  # one step from any option to any other
        return np.hstack(columns)

    def _open(self) -> list[Point]:
        if self._start is None:
            self._start = list(dict.fromkeys(map(self.canonical, self._first())))
        return self._start

    def _first(self) -> Iterator[Point]:
        if self.is_whole:
            yield from itertools.product(*map(range, self.sizes))
        else:
            rng = random.Random(self._seed)
            for _ in range(NUM_DRAWN):
                yield tuple(rng.randrange(size) for size in self.sizes)
