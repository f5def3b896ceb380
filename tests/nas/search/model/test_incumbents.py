"""Rows that a candidate has to beat, and by how many each one is beaten."""

import numpy as np
import pytest

from nas.search.model.incumbents import (
    count_dominators,
    keep_within_limits,
    list_incumbents,
    list_trained_rows,
)
from tests.nas.search.model.landscape import (
    make_candidates,
    make_observations,
    observe_point,
    quality,
    runtime,
    size,
)

POINTS = [(0, 0, 0, 0), (1, 3, 1, 0), (2, 4, 2, 1), (4, 7, 2, 0), (4, 0, 2, 0), (3, 2, 1, 1)]


@pytest.fixture
def rows():
    candidates = make_candidates()
    return [observe_point(candidates, point, number=n) for n, point in enumerate(POINTS, start=1)]


def is_beaten(row, other):
    """Whether another row is no worse in quality and runtime, and better in one of them."""
    ours = (-row.quality, row.costs["runtime_ratio"])
    theirs = (-other.quality, other.costs["runtime_ratio"])
    return all(b <= a for a, b in zip(ours, theirs, strict=True)) and theirs != ours


def test_incumbents_of_a_front_are_the_rows_that_no_other_beats(rows):
    incumbents = list_incumbents(make_observations(rows))
    front = [row for row in rows if not any(is_beaten(row, other) for other in rows)]
    assert 1 < len(front) < len(rows)
    assert {incumbent.number for incumbent in incumbents} == {row.number for row in front}
    for incumbent in incumbents:
        params = make_candidates().params(incumbent.point)
        assert incumbent.gain_db == quality(params)
        assert incumbent.costs["runtime_ratio"] == runtime(params)


def test_below_the_floor_and_over_a_limit_nothing_is_an_incumbent(rows):
    above = list_incumbents(make_observations(rows, floor_db=1.0))
    assert above
    assert all(incumbent.gain_db >= 1.0 for incumbent in above)
    within = list_incumbents(make_observations(rows, limits={"params": 100.0}))
    assert within
    assert all(size(make_candidates().params(one.point)) <= 100 for one in within)
    assert list_incumbents(make_observations(rows, floor_db=99.0)) == []
    assert list_incumbents(make_observations([])) == []


def test_the_incumbent_of_a_psnr_search_is_the_best_within_the_limits(rows):
    limits = {"runtime_ratio": 1.0}
    (best,) = list_incumbents(make_observations(rows, goal="psnr", limits=limits))
    allowed = [row.quality for row in rows if row.costs["runtime_ratio"] <= 1.0]
    assert best.gain_db == max(allowed) < max(row.quality for row in rows)


def test_paused_trainings_are_trained_rows_and_no_incumbents(rows):
    candidates = make_candidates()
    paused = observe_point(candidates, (0, 7, 2, 0), number=9, quality=9.0, std=0.1)
    ladder = observe_point(candidates, (0, 6, 2, 0), number=None, costs={})
    rejected = observe_point(candidates, (0, 5, 2, 0), number=10, quality=None)
    observations = make_observations([*rows, paused, ladder, rejected])
    assert [row.number for row in list_trained_rows(observations)] == [1, 2, 3, 4, 5, 6, 9]
    assert 9 not in {incumbent.number for incumbent in list_incumbents(observations)}


def test_dominators_are_counted_and_a_broken_limit_is_beaten_by_all_that_keep_it(rows):
    observations = make_observations(rows)
    counts = count_dominators(observations, list_trained_rows(observations))
    assert counts == [sum(is_beaten(row, other) for other in rows) for row in rows]
    assert max(counts) > 0

    limited = make_observations(rows, limits={"params": 100.0})
    trained = list_trained_rows(limited)
    keeps = np.array([row.costs["params"] <= 100 for row in trained])
    assert 0 < keeps.sum() < len(keeps)
    counts = np.array(count_dominators(limited, trained))
    assert counts[~keeps].min() >= keeps.sum()
    assert counts[keeps].max() < keeps.sum()


def test_exact_limits_are_kept_and_measured_ones_do_not_count():
    everything = make_candidates().list_points([])
    limits = {"params": 100.0, "runtime_ratio": 0.01}  # the runtime of a candidate is not known
    within = keep_within_limits(make_observations(limits=limits), everything)
    expected = [p for p in everything if size(make_candidates().params(p)) <= 100]
    assert within == expected != everything
