import pytest
from nas.search.sampling.evolution import TOURNAMENT, Evolution

from tests.nas.search.sampling.landscape import proposer, seen_at


def numbered(made, points):
    return [seen_at(made.proposer, point, number=number) for number, point in enumerate(points)]


def differs_in(point, other):
    return sum(a != b for a, b in zip(point, other, strict=True))


def test_a_child_differs_in_one_decision_from_the_best_of_a_tournament():
    made = Evolution(proposer(), population=TOURNAMENT)
    best, *others = (2, 7, 1, 0), (4, 7, 0, 0), (4, 6, 0, 0), (3, 7, 0, 0), (4, 6, 0, 1)
    for seed in range(8):
        child = made.propose(numbered(made, [best, *others]), [], startup=3, seed=seed).point
        assert differs_in(child, best) == 1
        assert child not in (best, *others)


def test_the_oldest_die_however_good_they_are():
    made = Evolution(proposer(), population=2)
    points = [(2, 7, 1, 0), (4, 7, 2, 0), (4, 5, 2, 0)]
    for seed in range(8):
        child = made.propose(numbered(made, points), [], startup=3, seed=seed).point
        assert 1 in {differs_in(child, point) for point in points[1:]}


@pytest.mark.parametrize("limits", [{}, {"params": 200.0}])
def test_it_goes_on_until_every_network_is_known(limits):
    made = Evolution(proposer(limits=limits), population=8)
    seen = []
    while (choice := made.propose(seen, [], startup=8, seed=len(seen))) is not None:
        seen.append(seen_at(made.proposer, choice.point, number=len(seen)))
    assert len({one.point for one in seen}) == len(seen) == len(made.pool.candidates([]))
    allowed = [made.pool.candidate(one.point).costs["params"] <= 200 for one in seen]
    assert not limits or allowed == sorted(allowed, reverse=True)  # what breaks a limit comes last
