import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor

from nas.search.model import surrogate
from nas.search.model.surrogate import fit


def curve(count, seed=0, noise=0.0):
    rng = np.random.default_rng(seed)
    inputs = rng.random((count, 3))
    outputs = np.sin(4 * inputs[:, 0]) + 0.5 * inputs[:, 1] + noise * rng.normal(size=count)
    return inputs, outputs


def test_it_predicts_what_it_did_not_see_within_its_uncertainty():
    model = fit(*curve(30))
    inputs, truth = curve(200, seed=1)
    mean, std = model.predict(inputs)
    assert np.abs(mean - truth).mean() < 0.1 * truth.std()
    assert (np.abs(mean - truth) <= 3 * std + 1e-3).mean() > 0.95


@pytest.mark.parametrize("deviation", [0.0, 0.3])
@pytest.mark.parametrize("count", [5, 80])
def test_it_predicts_what_scikit_learn_does(count, deviation):
    inputs, outputs = curve(count, noise=0.1)
    deviations = np.where(np.arange(count) % 2, deviation, 0.0)
    model = fit(inputs, outputs, deviations)
    first = surrogate._step(count)
    normed = (outputs - model.mean) / model.scale
    scaled = (inputs - model.low) / model.span
    alpha = np.maximum((deviations / model.scale) ** 2, surrogate.JITTER)
    theta = surrogate._theta(
        scaled[:first].tobytes(), normed[:first].tobytes(), alpha[:first].tobytes(), 3
    )
    kernel = surrogate._make_kernel(3).clone_with_theta(theta)
    process = GaussianProcessRegressor(kernel, alpha=alpha, optimizer=None)
    asked = curve(2 * surrogate.BLOCK + 7, seed=1)[0]
    wanted, std = process.fit(scaled, normed).predict(
        (asked - model.low) / model.span, return_std=True
    )
    mean, own_std = model.predict(asked)
    assert mean == pytest.approx(wanted * model.scale + model.mean, abs=1e-7)
    assert np.hypot(own_std, model.noise_std) == pytest.approx(std * model.scale, abs=1e-7)
    assert model.means(asked) == pytest.approx(mean, abs=1e-12)


def test_what_is_less_certain_is_less_believed():
    """One observation is 1 off: as a prediction it moves the mean there less than as a reading."""
    inputs, outputs = curve(30)
    off = outputs.copy()
    off[7] += 1.0
    spread = np.zeros(30)
    spread[7] = 1.0
    sure = fit(inputs, off).means(inputs[7:8])[0]
    unsure = fit(inputs, off, spread).means(inputs[7:8])[0]
    assert abs(unsure - outputs[7]) < 0.5 * abs(sure - outputs[7])


def test_uncertainty_is_that_of_the_function_not_of_a_reading():
    inputs, outputs = curve(80, noise=0.2)
    model = fit(inputs, outputs)
    assert model.noise_std == pytest.approx(0.2, rel=0.4)
    assert np.median(model.predict(inputs)[1]) < 0.12


def test_the_same_observations_give_the_same_process_after_a_restart():
    inputs, outputs = curve(25)
    first = fit(inputs, outputs).predict(inputs)
    surrogate._theta.cache_clear()
    assert np.array_equal(first, fit(inputs, outputs).predict(inputs))


def test_a_process_is_fitted_anew_at_one_in_ten_observations():
    surrogate._theta.cache_clear()
    inputs, outputs = curve(60)
    for count in range(40, 61):
        fit(inputs[:count], outputs[:count])
    assert surrogate._theta.cache_info().misses <= 6


def test_outputs_that_are_all_alike_and_inputs_that_never_change_are_no_error():
    inputs, _ = curve(5)
    inputs[:, 2] = 0.5
    mean, std = fit(inputs, np.full(5, 3.0)).predict(inputs)
    assert mean == pytest.approx(np.full(5, 3.0))
    assert np.isfinite(std).all()


def test_of_many_observations_the_best_and_the_latest_are_used():
    outputs = curve(surrogate.MAX_USED + 200)[1]
    used = surrogate._used(outputs)
    assert len(used) == surrogate.MAX_USED
    assert set(np.argsort(-outputs)[:100]) | set(range(len(outputs) - 100, len(outputs))) <= set(
        used
    )
