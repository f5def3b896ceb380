"""What points are expected to bring, by costs that were read or predicted and what is pending."""

import dataclasses
import random

import numpy as np
import pytest

from nas.search.model import rating as module
from nas.search.model.observations import PredictedQuality
from nas.search.model.rating import list_untried, predict_costs, rate_points, subsample_points
from tests.nas.search.model.landscape import (
    make_candidates,
    make_observations,
    observe_point,
    quality,
    runtime,
)


@pytest.fixture
def candidates():
    return make_candidates()


@pytest.fixture
def rows(candidates):
    points = random.Random(0).sample(candidates.list_points([]), 20)
    return [observe_point(candidates, point, number=n) for n, point in enumerate(points, start=1)]


def test_costs_that_were_read_are_certain_and_the_others_are_predicted(candidates, rows):
    observations = make_observations(rows, candidates=candidates)
    read, unread = rows[0].point, (0, 0, 0, 0)
    assert unread not in {row.point for row in rows}
    costs, spread = predict_costs([read, unread], observations)
    assert costs["runtime_ratio"][0] == rows[0].costs["runtime_ratio"]
    assert costs["runtime_ratio"][1] == pytest.approx(runtime(candidates.params(unread)), rel=0.3)
    assert spread["runtime_ratio"][0] == 0 < spread["runtime_ratio"][1]
    assert "params" not in spread  # exact


def test_what_is_pending_makes_its_neighbourhood_worth_less(candidates, rows):
    observations = make_observations(rows, candidates=candidates)
    untried = list_untried(observations, [])
    before = rate_points(untried, observations, [], seed=0)
    best = int(np.argmax(before.values))
    after = rate_points(untried, observations, [untried[best]], seed=0)
    assert before.values[best] > 0
    assert after.values[best] < 0.5 * before.values[best]
    assert after.std[best] < before.std[best]
    assert untried[best] not in list_untried(observations, [untried[best]])


def test_errors_of_earlier_predictions_widen_what_may_be_hoped_for(candidates, rows):
    off = PredictedQuality(mean=9.0, std=0.5, noise=0.0)
    wrong = [dataclasses.replace(row, predicted=off) for row in rows]
    untried = list_untried(make_observations(rows, candidates=candidates), [])
    calm = rate_points(untried, make_observations(rows, candidates=candidates), [], seed=0)
    wide = rate_points(untried, make_observations(wrong, candidates=candidates), [], seed=0)
    assert wide.values.sum() > calm.values.sum()
    assert np.array_equal(wide.std, calm.std)  # what is kept with a suggestion is not widened


def test_as_if_certain_only_what_is_predicted_to_be_better_counts(candidates, rows):
    observations = make_observations(rows, candidates=candidates)
    untried = list_untried(observations, [])
    unsure = rate_points(untried, observations, [], seed=0)
    certain = rate_points(untried, observations, [], seed=0, is_certain=True)
    assert (certain.values == 0).sum() > (unsure.values == 0).sum()
    assert certain.values.max() > 0


def test_the_mean_is_near_the_truth_of_what_was_not_tried(candidates, rows):
    observations = make_observations(rows, candidates=candidates)
    untried = list_untried(observations, [])
    rating = rate_points(untried, observations, [], seed=0)
    truth = np.array([quality(candidates.params(point)) for point in untried])
    assert np.abs(rating.mean - truth).mean() < 0.5 * truth.std()


def test_of_many_candidates_those_around_the_best_are_looked_at(candidates, rows, monkeypatch):
    monkeypatch.setattr(module, "MAX_CANDIDATES", 20)
    observations = make_observations(rows, candidates=candidates)
    untried = list_untried(observations, [])
    points = subsample_points(untried, observations, 0)
    assert (
        points
        == subsample_points(untried, observations, 0)
        != subsample_points(untried, observations, 1)
    )
    best = module.list_best(observations)
    near = {neighbour for point in best for neighbour in candidates.neighbours(point)}
    assert near & set(untried) <= set(points) < set(untried)
    assert len(set(points) - near) <= 20
