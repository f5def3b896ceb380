import itertools
import math
import time

import numpy as np
import pytest

from nas.analysis.pareto import front, hypervolume


def slow_front(costs):
    """By the definition, pair by pair."""
    return [not any(np.all(b <= a) and np.any(b < a) for b in costs) for a in costs]


def slow_hypervolume(costs, reference):
    """Inclusion-exclusion over all subsets of the boxes."""
    total = 0.0
    for size in range(1, len(costs) + 1):
        for subset in itertools.combinations(costs, size):
            sides = np.maximum(reference - np.max(subset, axis=0), 0)
            total -= (-1) ** size * float(np.prod(sides))
    return total


@pytest.mark.parametrize("num_columns", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("levels", [3, 1000])
def test_front_equals_the_definition(num_columns, levels):
    rng = np.random.default_rng(num_columns * levels)
    for _ in range(20):
        costs = rng.integers(levels, size=(60, num_columns)).astype(float)
        assert front(costs).tolist() == slow_front(costs)


def test_front_keeps_equal_points():
    assert front([[1, 2], [1, 2], [2, 1], [2, 2], [1, 2]]).tolist() == [
        True,
        True,
        True,
        False,
        True,
    ]


def test_front_drops_a_point_that_ties_in_one_column():
    assert front([[1, 2], [1, 1], [0, 2]]).tolist() == [False, True, True]


def test_front_of_nothing_is_empty():
    assert front(np.empty((0, 3))).shape == (0,)
    assert hypervolume(np.empty((0, 3)), [1, 1, 1]) == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_front_refuses_what_is_not_finite(bad):
    with pytest.raises(ValueError, match=r"costs must be finite.*row 1"):
        front([[1, 2], [3, bad]])
    with pytest.raises(ValueError, match="costs must be finite"):
        hypervolume([[1, bad]], [1, 1])
    with pytest.raises(ValueError, match="reference point must be finite"):
        hypervolume([[1, 2]], [1, bad])


@pytest.mark.parametrize("costs", [[1, 2, 3], np.empty((2, 0)), np.zeros((2, 2, 2))])
def test_front_refuses_other_shapes(costs):
    with pytest.raises(ValueError, match=r"shape \(N, K\)"):
        front(costs)


def test_hypervolume_refuses_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="one value a cost column"):
        hypervolume([[1, 2]], [1, 2, 3])
    with pytest.raises(ValueError, match="1 to 4 objectives, got 5"):
        hypervolume(np.zeros((1, 5)), np.ones(5))


@pytest.mark.parametrize("num_columns", [1, 2, 3, 4])
@pytest.mark.parametrize("levels", [3, 1000])
def test_hypervolume_equals_inclusion_exclusion(num_columns, levels):
    rng = np.random.default_rng(num_columns * levels)
    for _ in range(6):
        costs = rng.integers(-levels, levels, size=(8, num_columns)) / levels
        reference = np.full(num_columns, 0.5)
        assert hypervolume(costs, reference) == pytest.approx(
            slow_hypervolume(costs, reference), rel=1e-12, abs=1e-12
        )


@pytest.mark.parametrize("num_columns", [1, 2, 3, 4])
def test_hypervolume_of_a_box_is_its_volume(num_columns):
    costs = np.arange(num_columns, dtype=float)[None]
    reference = costs[0] + np.arange(2, num_columns + 2)
    assert hypervolume(costs, reference) == pytest.approx(math.factorial(num_columns + 1))
    assert hypervolume(np.repeat(costs, 3, axis=0), reference) == pytest.approx(
        math.factorial(num_columns + 1)
    )


@pytest.mark.parametrize("num_columns", [2, 3, 4])
def test_hypervolume_of_a_staircase_simplex_is_known(num_columns):
    # All lattice points with coordinates from 0 that sum to n - 1: the complement of what they
    # dominate in [0, n]^K is the union of unit cells with index sum below n - 1, of which there
    # are C(n - 2 + K, K).
    n = 6
    lattice = [p for p in itertools.product(range(n), repeat=num_columns) if sum(p) == n - 1]
    expected = n**num_columns - math.comb(n - 2 + num_columns, num_columns)
    assert hypervolume(
        np.array(lattice, dtype=float), np.full(num_columns, float(n))
    ) == pytest.approx(expected)


def test_hypervolume_ignores_points_outside_and_dominated():
    inside = [[0.5, 0.5], [0.2, 0.8]]
    expected = 0.5 * 0.5 + 0.3 * 0.2
    assert hypervolume(inside, [1, 1]) == pytest.approx(expected)
    assert hypervolume([*inside, [0.6, 0.6], [-5, 1.0], [3, -3]], [1, 1]) == pytest.approx(expected)
    assert hypervolume([[1, 1], [2, 0]], [1, 1]) == 0


def test_hypervolume_does_not_change_its_input():
    costs = np.array([[0.5, 0.5, 0.1], [0.2, 0.8, 0.3]])
    before = costs.copy()
    hypervolume(costs, [1, 1, 1])
    front(costs)
    np.testing.assert_array_equal(costs, before)


@pytest.mark.parametrize(
    ("num_points", "num_columns", "seconds"), [(1000, 2, 0.5), (1000, 3, 1.0), (200, 4, 2.0)]
)
def test_front_and_hypervolume_are_fast_when_all_points_are_on_the_front(
    num_points, num_columns, seconds
):
    rng = np.random.default_rng(0)
    costs = -np.abs(rng.normal(size=(num_points, num_columns)))
    costs /= np.linalg.norm(costs, axis=1, keepdims=True)  # on a sphere: none dominates another
    start = time.process_time()
    assert front(costs).all()
    assert 0 < hypervolume(costs, np.zeros(num_columns)) < 1
    assert time.process_time() - start < seconds
