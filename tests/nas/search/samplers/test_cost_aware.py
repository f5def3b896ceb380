import dataclasses
import math
import random

import numpy as np
import pytest
from nas.search.sampling.proposer import Seen, stretch

from nas.analysis.pareto import hypervolume
from tests.nas.search.sampling.landscape import pool, proposer, quality, runtime, search, seen_at


def volume(made, points):
    """Of quality and the logarithm of the runtime: a tenth less of it is worth as much everywhere."""
    params = [made.pool.params(point) for point in points]
    return hypervolume([(-quality(one), math.log(runtime(one))) for one in params], (0.0, math.log(4)))


@pytest.mark.parametrize("seed", range(3))
def test_a_search_of_the_front_is_far_ahead_of_a_random_one(seed):
    made = proposer()
    whole = volume(made, made.pool.candidates([]))
    ours = volume(made, [one.point for one in search(made, 20, seed=seed)])
    drawn = random.Random(seed).sample(made.pool.candidates([]), 20)
    assert ours > 0.9 * whole
    assert whole - ours < 0.5 * (whole - volume(made, drawn))


def test_a_search_of_the_best_psnr_ends_at_the_limit():
    made = proposer(goal="psnr", limits={"runtime_ratio": 1.0})
    allowed = [p for p in made.pool.candidates([]) if runtime(made.pool.params(p)) <= 1.0]
    best = max(quality(made.pool.params(point)) for point in allowed)
    found = [one for one in search(made, 20) if one.costs["runtime_ratio"] <= 1.0]
    assert max(one.quality for one in found) == pytest.approx(best)


def test_a_search_of_the_best_score_ends_at_the_gate():
    def score(runtime_ratio, flops, params):
        return np.exp(2 * runtime_ratio) + params / 1000

    made = proposer(goal="score", gate_db=1.5, score=score)
    made.pool._describe = lambda params, old=made.pool._describe: with_flops(old(params))
    everything = [made.pool.params(point) for point in made.pool.candidates([])]
    best = min(score_of(one) for one in everything if quality(one) >= 1.5)
    seen = [made.pool.params(one.point) for one in search(made, 25) if one.quality >= 1.5]
    assert min(map(score_of, seen)) <= 1.01 * best


def with_flops(candidate):
    return dataclasses.replace(candidate, costs={**candidate.costs, "flops": candidate.costs["params"]})


def score_of(params):
    size = (params["blocks"] + 1) * (params["channels"] + 2) ** 2
    return math.exp(2 * runtime(params)) + size / 1000


def test_where_the_gate_is_believed_a_search_of_the_front_stays_above_it():
    made = proposer(floor_db=1.8)
    found = search(made, 20)
    assert sum(one.quality >= 1.8 for one in found[8:]) >= 9
    assert all(one.gain_db >= 1.8 for one in made.rivals(found))


def test_nothing_is_proposed_twice_and_the_end_is_said():
    made = proposer()
    everything = made.pool.candidates([])
    tried = [seen_at(made, point) for point in everything[:-3]]
    waiting = [everything[-3]]
    left = {made.propose(tried, waiting, startup=5, seed=seed).point for seed in range(5)}
    assert left <= set(everything[-2:])
    assert made.propose(tried, everything[-3:], startup=5, seed=0) is None


def test_a_rung_of_the_ladder_is_learned_from_and_may_be_proposed():
    made = proposer()
    everything = made.pool.candidates([])
    rung = dataclasses.replace(seen_at(made, everything[-1]), costs={}, number=None)
    tried = [seen_at(made, point) for point in everything[:-1]]
    assert made.propose([*tried, rung], [], startup=5, seed=0).point == everything[-1]


def test_what_is_being_tried_is_not_tried_again_next_door():
    made = proposer()
    seen = search(made, 12)
    first = made.propose(seen, [], startup=5, seed=7)
    second = made.propose(seen, [first.point], startup=5, seed=7)
    assert second.point != first.point


def test_exact_limits_hold_from_the_first_proposal_on():
    made = proposer(limits={"params": 100.0})
    found = search(made, 15)
    assert all(pool().candidate(one.point).costs["params"] <= 100 for one in found)


def test_the_same_seed_and_study_give_the_same_proposal():
    made, other = proposer(), proposer()
    seen = search(made, 9)
    assert made.propose(seen, [], startup=5, seed=3) == other.propose(seen, [], startup=5, seed=3)


def forecast(quality, mean=0.0, std=1.0, noise=0.0, number=1):
    return Seen(point=(number,), quality=quality, costs={}, number=number, expected=(mean, std, noise))


def test_deviations_stretch_where_forecasts_were_too_sure():
    rng = np.random.default_rng(0)
    right = [forecast(value) for value in rng.normal(0, 1.0, 200)]
    wrong = [forecast(value) for value in rng.normal(0, 3.0, 200)]
    assert stretch(right) == pytest.approx(1.0, abs=0.1)
    assert stretch(wrong) == pytest.approx(3.0, rel=0.15)
    assert stretch([forecast(0.0)] * 50) == 1.0  # never narrower
    assert stretch([]) == 1.0


def test_one_odd_training_does_not_make_all_unsure():
    assert stretch([forecast(0.0)] * 20 + [forecast(1000.0)]) < 1.5


def test_noise_and_what_only_paused_count_less_against_a_forecast():
    assert stretch([forecast(3.0, noise=3.0)] * 5) < stretch([forecast(3.0)] * 5)
    assert stretch([dataclasses.replace(forecast(3.0), std=3.0)] * 5) < stretch([forecast(3.0)] * 5)
