"""The candidates of a space as arrays: the options each one takes, how models see it, what it costs."""

import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nas.search.model.decisions import MAX_LISTED, Decision

Floats = npt.NDArray[np.float64]
Point = tuple[int, ...]  # an index into the options of each decision, in the space's order
NUM_DRAWN = 3000  # of a large space; the rest of its candidates are neighbours of what is good


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What is known of a point without training.

    Attributes:
        name: points of one name are one architecture.
        costs: exact, above 0, the same keys for every candidate.
    """

    name: str
    costs: Mapping[str, float]


class Candidates:
    """Every architecture of a small space; of a large one a fixed sample and what lies around the best.

    Args:
        decisions: of the space, in its order.
        describe: parameters -> name and exact costs; it is called once a point.
        seed: of the sample of a large space, and of the points to start with.
    """

    def __init__(
        self,
        decisions: Sequence[Decision],
        describe: Callable[[Mapping[str, int]], Candidate],
        *,
        seed: int,
    ) -> None:
        self.decisions = tuple(decisions)
        self.names = tuple(decision.name for decision in decisions)
        self.sizes = tuple(decision.num_options for decision in decisions)
        self._describe = describe
        self._seed = seed
        self._start: list[Point] | None = None

        # Candidates that were described, and the one point that stands for each name.
        self._described: dict[Point, Candidate] = {}
        self._canonical: dict[str, Point] = {}
        self._neighbours: dict[Point, tuple[Point, ...]] = {}

        # A point never changes: it is put into these tables when models first ask for it.
        self._rows: dict[Point, int] = {}
        self._encoded: Floats = np.zeros((0, 0))
        self._costs: dict[str, Floats] = {}

    @property
    def is_whole(self) -> bool:
        """Whether every point of the space is a candidate."""
        return math.prod(self.sizes) <= MAX_LISTED

    def candidate(self, point: Point) -> Candidate:
        """Return the name and the exact costs of a point."""
        if point not in self._described:
            candidate = self._describe(self.params(point))
            self._described[point] = candidate
            self._canonical.setdefault(candidate.name, point)
        return self._described[point]

    def canonical(self, point: Point) -> Point:
        """Return the point that stands for all those of its name."""
        return self._canonical[self.candidate(point).name]

    def find(self, name: str) -> Point | None:
        """Return the point of a name; None: no candidate that was looked at has it."""
        self._list_start()
        return self._canonical.get(name)

    def list_points(self, best: Iterable[Point]) -> list[Point]:
        """List one point a candidate.

        Args:
            best: points whose neighbours join in where the space is large.
        """
        start = self._list_start()
        if self.is_whole:
            return list(start)
        near = itertools.chain.from_iterable(map(self._list_canonical_neighbours, best))
        return list(dict.fromkeys([*start, *near]))

    def spread(self, count: int) -> list[Point]:
        """Return points that take each decision's options about equally often: a Latin hypercube."""
        # Slow to load, and only the process that proposes candidates needs it.
        from scipy.stats import qmc

        shares = qmc.LatinHypercube(len(self.sizes), rng=self._seed).random(count)
        return [self.canonical(tuple(map(int, row * np.array(self.sizes)))) for row in shares]

    def neighbours(self, point: Point) -> Iterator[Point]:
        """Yield the points that differ in one decision."""
        for place, size in enumerate(self.sizes):
            for option in range(size):
                if option != point[place]:
                    yield (*point[:place], option, *point[place + 1 :])

    def encode(self, points: Sequence[Point]) -> Floats:
        """Return what models see of points, (N, E), within about [0, 1].

        These are ranks of ordered options, one column for each other option, logarithms of exact costs.
        """
        rows = self._find_rows(points)  # it may grow the table
        return self._encoded[rows]

    def costs(self, points: Sequence[Point]) -> dict[str, Floats]:
        """Return exact costs by name, (N,) each."""
        rows = self._find_rows(points)
        return {name: values[rows] for name, values in self._costs.items()}

    def params(self, point: Point) -> dict[str, int]:
        """Return a point as decision -> index."""
        return dict(zip(self.names, point, strict=True))

    def point(self, params: Mapping[str, int]) -> Point:
        """Return parameters as a point."""
        return tuple(map(params.__getitem__, self.names))

    def _list_canonical_neighbours(self, point: Point) -> tuple[Point, ...]:
        if point not in self._neighbours:
            self._neighbours[point] = tuple(map(self.canonical, self.neighbours(point)))
        return self._neighbours[point]

    def _find_rows(self, points: Sequence[Point]) -> npt.NDArray[np.intp]:
        """Return the rows of points in the tables, (N,); points that are new are added."""
        try:
            return np.fromiter(
                map(self._rows.__getitem__, points), dtype=np.intp, count=len(points)
            )
        except KeyError:
            self._add_rows([point for point in dict.fromkeys(points) if point not in self._rows])
            return self._find_rows(points)

    def _add_rows(self, points: list[Point]) -> None:
        """Append points that are not in the tables."""
        exact = [self.candidate(point).costs for point in points]
        costs = {
            name: np.array([one[name] for one in exact], dtype=np.float64) for name in exact[0]
        }
        encoded = np.hstack(
            [self._rank_options(points), *(np.log(column)[:, None] for column in costs.values())]
        )

        if self._rows:
            encoded = np.concatenate([self._encoded, encoded])
            costs = {
                name: np.concatenate([self._costs[name], column]) for name, column in costs.items()
            }
        self._encoded, self._costs = encoded, costs
        self._rows |= {point: row for row, point in enumerate(points, start=len(self._rows))}

    def _rank_options(self, points: Sequence[Point]) -> Floats:
        """Return ordered options as ranks in [0, 1], the others as one column each; (N, E)."""
        indices = np.array(points, dtype=np.intp)
        columns: list[Floats] = []
        for place, decision in enumerate(self.decisions):
            chosen, size = indices[:, place], decision.num_options
            if decision.is_ordered or size <= 2:
                columns.append(chosen[:, None] / max(1, size - 1))
            else:
                # Any option is one step from any other.
                columns.append(np.eye(size)[chosen] / math.sqrt(2))
        return np.hstack(columns)

    def _list_start(self) -> list[Point]:
        """List the candidates that there are from the start, one point a name."""
        if self._start is None:
            self._start = list(dict.fromkeys(map(self.canonical, self._draw_start())))
        return self._start

    def _draw_start(self) -> Iterator[Point]:
        if self.is_whole:
            yield from itertools.product(*map(range, self.sizes))
        else:
            rng = random.Random(self._seed)
            for _ in range(NUM_DRAWN):
                yield tuple(rng.randrange(size) for size in self.sizes)
