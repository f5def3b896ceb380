"""sampler=cost_aware finds what its goals ask for in a space where the truth is known."""

import dataclasses
import math
import random

import numpy as np
import pytest

from nas.analysis.pareto import hypervolume
from nas.search.model.incumbents import list_incumbents
from nas.search.samplers.cost_aware import CostAware
from tests.nas.search.model.landscape import (
    describe,
    make_candidates,
    make_observations,
    observe_point,
    quality,
    runtime,
    size,
)

SAMPLER = CostAware(startup=5, screen=3.0)


def suggest(observations, pending=(), seed=0):
    suggestion = SAMPLER.ask(observations, list(pending), seed=seed)
    return None if suggestion is None else observations.candidates.point(suggestion.params)


def search(count, *, seed=0, candidates=None, **changes):
    """Return what is known after so many suggestions; `changes` are the acquisition's."""
    rows = []
    candidates = candidates or make_candidates()
    for place in range(count):
        observations = make_observations(rows, candidates=candidates, **changes)
        point = suggest(observations, seed=1000 * seed + place)
        if point is None:
            break
        rows.append(observe_point(candidates, point))
    return make_observations(rows, candidates=candidates, **changes)


def measure_volume(points):
    """Return the hypervolume over quality and the runtime's logarithm."""
    params = [make_candidates().params(point) for point in points]
    rows = [(-quality(choice), math.log(runtime(choice))) for choice in params]
    return hypervolume(rows, (0.0, math.log(4)))


@pytest.mark.parametrize("seed", range(3))
def test_a_search_of_the_front_is_far_ahead_of_a_random_one(seed):
    everything = make_candidates().list_points([])
    whole = measure_volume(everything)
    ours = measure_volume([row.point for row in search(20, seed=seed).rows])
    drawn = measure_volume(random.Random(seed).sample(everything, 20))
    assert ours > 0.9 * whole
    assert whole - ours < 0.5 * (whole - drawn)


def test_a_search_of_the_best_psnr_ends_at_the_limit():
    params = map(make_candidates().params, make_candidates().list_points([]))
    best = max(quality(choice) for choice in params if runtime(choice) <= 1.0)
    rows = search(20, goal="psnr", limits={"runtime_ratio": 1.0}).rows
    allowed = [row.quality for row in rows if row.costs["runtime_ratio"] <= 1.0]
    assert max(allowed) == pytest.approx(best)


def test_a_search_of_the_best_score_ends_at_the_gate():
    def score(runtime_ratio, flops, params):
        return np.exp(2 * runtime_ratio) + params / 1000

    def describe_with_flops(params):
        candidate = describe(params)
        return dataclasses.replace(candidate, costs={**candidate.costs, "flops": size(params)})

    def find_score(params):
        return math.exp(2 * runtime(params)) + size(params) / 1000

    candidates = make_candidates(describe=describe_with_flops)
    everything = map(candidates.params, candidates.list_points([]))
    best = min(find_score(params) for params in everything if quality(params) >= 1.5)
    rows = search(25, goal="score", gate_db=1.5, score=score, candidates=candidates).rows
    passing = [candidates.params(row.point) for row in rows if row.quality >= 1.5]
    assert min(map(find_score, passing)) <= 1.01 * best


def test_where_the_gate_is_believed_a_search_of_the_front_stays_above_it():
    observations = search(20, floor_db=1.8)
    assert sum(row.quality >= 1.8 for row in observations.rows[8:]) >= 9
    incumbents = list_incumbents(observations)
    assert incumbents
    assert all(incumbent.gain_db >= 1.8 for incumbent in incumbents)


def test_nothing_is_suggested_twice_and_the_end_is_said():
    candidates = make_candidates()
    everything = candidates.list_points([])
    tried = [observe_point(candidates, point) for point in everything[:-3]]
    observations = make_observations(tried, candidates=candidates)
    left = {suggest(observations, [everything[-3]], seed=seed) for seed in range(5)}
    assert left <= set(everything[-2:])
    assert suggest(observations, everything[-3:]) is None


def test_a_ladder_size_is_learned_from_and_may_be_suggested():
    candidates = make_candidates()
    everything = candidates.list_points([])
    size_of_ladder = observe_point(candidates, everything[-1], costs={}, number=None)
    tried = [observe_point(candidates, point) for point in everything[:-1]]
    observations = make_observations([*tried, size_of_ladder], candidates=candidates)
    assert suggest(observations) == everything[-1]

    # Learned from: another outcome there leads elsewhere.
    few = [observe_point(candidates, point) for point in everything[3:200:25]]
    nowhere = dataclasses.replace(size_of_ladder, quality=-5.0)
    suggestions = {
        suggest(make_observations([*few, *ladder], candidates=candidates))
        for ladder in ([size_of_ladder], [nowhere])
    }
    assert len(suggestions) == 2


def test_what_is_being_tried_is_not_tried_again_next_door():
    observations = search(12)
    first = suggest(observations, seed=7)
    second = suggest(observations, [first], seed=7)
    assert second != first


def test_exact_limits_hold_from_the_first_suggestion_on():
    rows = search(15, limits={"params": 100.0}).rows
    assert len(rows) == 15
    assert all(size(make_candidates().params(row.point)) <= 100 for row in rows)


def test_a_suggestion_says_what_is_predicted_once_there_are_models():
    start = SAMPLER.ask(search(3), [], seed=0)
    assert (start.predicted, start.max_deviations) == (None, None)
    observations = search(12)
    modelled = SAMPLER.ask(observations, [], seed=0)
    assert modelled.max_deviations == 3.0
    assert modelled.predicted.std > 0
    error = modelled.predicted.mean - quality(modelled.params)
    assert abs(error) < 5 * math.hypot(modelled.predicted.std, modelled.predicted.noise)
    unscreened = CostAware(startup=5, screen=None).ask(observations, [], seed=0)
    assert unscreened.max_deviations is None
    assert unscreened.params == modelled.params


def test_pending_points_count_as_started():
    """With five points known or open the models choose, with fewer the start does."""
    observations, points = search(4), make_candidates().spread(20)[10:12]
    assert SAMPLER.ask(observations, points[:1], seed=0).predicted is not None
    assert SAMPLER.ask(observations, [], seed=0).predicted is None
