import random

import numpy as np

from nas.search.model import candidates as module
from tests.nas.search.model.landscape import DECISIONS, describe, make_candidates, size


def test_a_small_space_is_listed_whole_each_architecture_once():
    candidates = make_candidates()
    assert candidates.is_whole
    points = candidates.list_points([])
    assert len(points) == 5 * 8 * 3 * 2 - 8 * 3  # bias has no effect with one block
    assert len({candidates.candidate(point).name for point in points}) == len(points)
    canonical = candidates.canonical
    assert canonical((0, 3, 1, 1)) == canonical((0, 3, 1, 0)) == (0, 3, 1, 0)


def test_a_large_space_is_a_fixed_sample_and_what_lies_around_the_best(monkeypatch):
    monkeypatch.setattr(module, "MAX_LISTED", 10)
    monkeypatch.setattr(module, "NUM_DRAWN", 30)
    first, again = make_candidates(), make_candidates()
    best = (4, 7, 2, 1)
    assert not first.is_whole
    assert first.list_points([]) == again.list_points([])
    assert len(first.list_points([])) <= 30
    near = set(first.list_points([best])) - set(first.list_points([]))
    assert near <= set(map(first.canonical, first.neighbours(best)))
    assert (3, 7, 2, 1) in first.list_points([best])
    assert again.list_points([]) == first.list_points([])  # neighbours come and go with the best


def test_another_seed_draws_another_sample_and_another_start(monkeypatch):
    monkeypatch.setattr(module, "MAX_LISTED", 10)
    monkeypatch.setattr(module, "NUM_DRAWN", 30)
    first, other = make_candidates(), make_candidates(seed=1)
    assert set(first.list_points([])) != set(other.list_points([]))
    assert first.spread(6) != other.spread(6)


def test_neighbours_differ_in_one_decision():
    neighbours = list(make_candidates().neighbours((2, 3, 1, 0)))
    assert len(neighbours) == len(set(neighbours)) == 4 + 7 + 2 + 1
    for point in neighbours:
        assert sum(a != b for a, b in zip(point, (2, 3, 1, 0), strict=True)) == 1


def test_spread_points_take_every_option_about_equally_often():
    candidates = make_candidates()
    points = candidates.spread(40)
    assert points == candidates.spread(40)
    for place, decision in enumerate(DECISIONS[:3]):  # the last may have no effect
        counts = np.bincount([point[place] for point in points], minlength=decision.num_options)
        assert np.abs(counts - 40 / decision.num_options).max() <= 1


def test_models_see_ranks_categories_and_the_logarithm_of_costs():
    rows = make_candidates().encode([(0, 0, 0, 0), (4, 7, 2, 1), (4, 7, 1, 1)])
    assert rows.shape == (3, 1 + 1 + 3 + 1 + 1)
    assert rows[:, 0].tolist() == [0, 1, 1]
    assert np.isclose(np.linalg.norm(rows[1] - rows[2]), 1)  # one category to another
    assert np.allclose(rows[:, -1], np.log([4, 405, 405]))


def test_points_are_encoded_alike_at_once_and_one_by_one_and_described_once():
    calls = []

    def describe_once(params):
        calls.append(tuple(params.values()))
        return describe(params)

    candidates = make_candidates(describe=describe_once)
    points = [(0, 3, 1, 0), (4, 7, 2, 1), (2, 2, 0, 0), (4, 7, 2, 1)]
    pieces = np.concatenate([candidates.encode([point]) for point in points])
    assert np.array_equal(pieces, make_candidates().encode(points))
    assert np.array_equal(pieces, candidates.encode(points))
    sizes = [size(candidates.params(point)) for point in points]
    assert candidates.costs(points)["params"].tolist() == sizes
    assert calls == points[:3]


def test_a_name_finds_its_point():
    candidates = make_candidates()
    point = random.Random(0).choice(candidates.list_points([]))
    assert candidates.find(candidates.candidate(point).name) == point
    assert candidates.find("unheard of") is None
    assert candidates.point(candidates.params(point)) == point
    assert list(candidates.params(point)) == [decision.name for decision in DECISIONS]
