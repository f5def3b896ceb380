"""sampler=evolution: of the latest networks the best of a few has a child that differs in one decision."""

import random
from collections.abc import Iterable, Sequence

from nas.search.sampling.pool import Point
from nas.search.sampling.proposer import Choice, Proposer, Seen

TOURNAMENT = 5


class Evolution:
    """Regularised evolution: the oldest networks die, whatever they are worth.

    Source: Real, Aggarwal, Huang and Le, Regularized Evolution for Image Classifier Architecture Search,
    AAAI 2019; with several objectives the fewest dominators win a tournament.

    Args:
        proposer: knows candidates and aim.
        population: networks that are alive.
    """

    def __init__(self, proposer: Proposer, population: int) -> None:
        self.proposer = proposer
        self.pool = proposer.pool
        self.population = population

    def propose(
        self, seen: Sequence[Seen], pending: Iterable[Point], *, startup: int, seed: int
    ) -> Choice | None:
        """The next point; None where every candidate is known.

        Args:
            pending: points that are being tried.
            startup: points that are spread over the space before there are children.
        """
        pool, rng = self.pool, random.Random(seed)
        waiting = {pool.canonical(point) for point in pending}
        tried = {pool.canonical(one.point) for one in seen if one.number is not None} | waiting
        rows = sorted(self.proposer.rows(seen), key=lambda one: one.number)
        if len(rows) + len(waiting) >= startup and rows:
            alive = rows[-self.population :]
            ranks = self.proposer.dominators(alive)
            few = rng.sample(range(len(alive)), min(TOURNAMENT, len(alive)))
            for parent in sorted(few, key=lambda place: ranks[place]):
                near = dict.fromkeys(map(pool.canonical, pool.neighbours(alive[parent].point)))
                children = self.proposer.within_exact_limits([point for point in near if point not in tried])
                if children:
                    return Choice(point=rng.choice(children))
        left = [point for point in pool.candidates([]) if point not in tried]
        return Choice(point=self.proposer.start(left, startup, rng)) if left else None
