import random

import numpy as np
from nas.search.sampling import pool as module

from tests.nas.search.sampling.landscape import SPACE, describe, pool, size


def test_a_small_space_is_known_whole_each_architecture_once():
    made = pool()
    assert made.is_whole
    points = made.candidates([])
    assert len(points) == 5 * 8 * 3 * 2 - 8 * 3  # bias has no effect with one block
    assert len({made.candidate(point).name for point in points}) == len(points)
    assert made.canonical((0, 3, 1, 1)) == made.canonical((0, 3, 1, 0)) == (0, 3, 1, 0)


def test_a_large_space_is_a_fixed_sample_and_what_lies_around_the_best(monkeypatch):
    monkeypatch.setattr(module, "MAX_LISTED", 10)
    monkeypatch.setattr(module, "NUM_DRAWN", 30)
    first, again = pool(), pool()
    best = (4, 7, 2, 1)
    assert first.candidates([]) == again.candidates([])
    assert len(first.candidates([])) <= 30
    near = set(first.candidates([best])) - set(first.candidates([]))
    assert near <= set(map(first.canonical, first.neighbours(best)))
    assert (3, 7, 2, 1) in first.candidates([best])
    assert again.candidates([]) == first.candidates([])  # neighbours come and go with the best


def test_neighbours_differ_in_one_decision():
    made = pool()
    found = list(made.neighbours((2, 3, 1, 0)))
    assert len(found) == len(set(found)) == 4 + 7 + 2 + 1
    assert all(sum(a != b for a, b in zip(point, (2, 3, 1, 0), strict=True)) == 1 for point in found)


def test_models_see_ranks_categories_and_the_logarithm_of_costs():
    made = pool()
    rows = made.encode([(0, 0, 0, 0), (4, 7, 2, 1), (4, 7, 1, 1)])
    assert rows.shape == (3, 1 + 1 + 3 + 1 + 1)
    assert rows[:, 0].tolist() == [0, 1, 1]
    assert np.isclose(np.linalg.norm(rows[1] - rows[2]), 1)  # one category to another
    assert np.allclose(rows[:, -1], np.log([4, 405, 405]))


def test_points_are_encoded_alike_at_once_and_one_by_one_and_described_once():
    calls = []
    made = pool(describe=lambda params: calls.append(tuple(params.values())) or describe(params))
    points = [(0, 3, 1, 0), (4, 7, 2, 1), (2, 2, 0, 0), (4, 7, 2, 1)]
    pieces = np.concatenate([made.encode([point]) for point in points])
    assert np.array_equal(pieces, pool().encode(points))
    assert np.array_equal(pieces, made.encode(points))
    assert made.costs(points)["params"].tolist() == [size(made.params(point)) for point in points]
    assert calls == points[:3]


def test_a_name_finds_its_point():
    made = pool()
    point = random.Random(0).choice(made.candidates([]))
    assert made.find(made.candidate(point).name) == point
    assert made.find("unheard of") is None
    assert made.point(made.params(point)) == point
    assert list(made.params(point)) == list(SPACE)
