"""How much wider predicted deviations are made, from the errors of earlier predictions."""

import dataclasses

import numpy as np
import pytest

from nas.search.model.observations import Observation, PredictedQuality, calibration_factor


def predicted_row(quality, mean=0.0, std=1.0, noise=0.0):
    """Return what came out where something had been predicted."""
    predicted = PredictedQuality(mean=mean, std=std, noise=noise)
    return Observation(point=(1,), quality=quality, costs={}, number=1, predicted=predicted)


def test_deviations_widen_where_predictions_were_too_sure():
    rng = np.random.default_rng(0)
    right = [predicted_row(value) for value in rng.normal(0, 1.0, 200)]
    wrong = [predicted_row(value) for value in rng.normal(0, 3.0, 200)]
    assert calibration_factor(right) == pytest.approx(1.0, abs=0.1)
    assert calibration_factor(wrong) == pytest.approx(3.0, rel=0.15)
    assert calibration_factor([predicted_row(0.0)] * 50) == 1.0  # never narrower
    assert calibration_factor([]) == 1.0


def test_one_odd_training_does_not_make_all_unsure():
    assert calibration_factor([predicted_row(0.0)] * 20 + [predicted_row(1000.0)]) < 1.5


def test_noise_and_what_only_paused_count_less_against_a_prediction():
    sure = calibration_factor([predicted_row(3.0)] * 5)
    paused = dataclasses.replace(predicted_row(3.0), std=3.0)
    assert calibration_factor([predicted_row(3.0, noise=3.0)] * 5) < sure
    assert calibration_factor([paused] * 5) < sure


def test_rows_without_a_quality_or_a_prediction_do_not_count():
    wrong = [predicted_row(3.0)] * 5
    untrained = dataclasses.replace(predicted_row(3.0), quality=None)
    unpredicted = dataclasses.replace(predicted_row(3.0), predicted=None)
    certain = predicted_row(3.0, std=0.0)
    others = [untrained, unpredicted, certain]
    assert calibration_factor([*wrong, *others]) == calibration_factor(wrong) > 1.0
