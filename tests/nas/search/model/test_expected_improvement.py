import numpy as np
import pytest

from nas.analysis.pareto import hypervolume
from nas.search.model.expected_improvement import (
    expected_hypervolume_improvement,
    expected_improvement,
)

FLOOR = 0.0


@pytest.mark.parametrize("num_costs", [0, 1, 2, 3])
def test_the_improvement_is_the_mean_hypervolume_that_draws_of_the_quality_add(num_costs):
    rng = np.random.default_rng(num_costs)
    known = rng.random((6, num_costs + 1))
    costs = rng.random((5, num_costs))
    mean, std = rng.random(5), 0.3 * rng.random(5)
    ceiling = np.full(num_costs, 1.2)
    improvement = expected_hypervolume_improvement(
        mean,
        std,
        costs,
        front_quality=known[:, 0],
        front_costs=known[:, 1:],
        floor=FLOOR,
        ceiling=ceiling,
        seed=0,
    )

    # The slow way: draw the quality, and measure what each draw adds.
    corner = np.append(FLOOR, ceiling)
    signed = np.concatenate([-known[:, :1], known[:, 1:]], axis=1)
    before = hypervolume(signed, corner)
    for place in range(5):
        draws = rng.normal(mean[place], std[place], size=800)
        rows = [np.append(-quality, costs[place]) for quality in draws]
        added = [hypervolume(np.vstack([signed, row]), corner) - before for row in rows]
        error = 4 * np.std(added) / len(added) ** 0.5
        slack = 0.0 if num_costs < 2 else 0.15 * np.mean(added) + 0.01  # 512 corners
        assert improvement[place] == pytest.approx(np.mean(added), abs=error + slack + 1e-9)


def test_a_candidate_that_cannot_be_better_adds_nothing():
    improvement = expected_hypervolume_improvement(
        np.array([0.5, 0.9]),
        np.zeros(2),
        np.array([[0.6], [0.6]]),
        front_quality=np.array([0.7]),
        front_costs=np.array([[0.5]]),
        floor=FLOOR,
        ceiling=np.array([1.0]),
        seed=0,
    )
    assert improvement == pytest.approx([0.0, 0.4 * 0.2])


def test_the_expected_improvement_is_the_integral_over_the_normal():
    grid = np.linspace(-8, 8, 20_001)
    density = np.exp(-0.5 * grid**2) / np.sqrt(2 * np.pi)
    for mean, std, level in [(0.0, 1.0, 0.0), (1.0, 0.3, 2.0), (-1.0, 2.0, 0.5)]:
        expected = np.trapezoid(np.maximum(mean + std * grid - level, 0) * density, grid)
        improvement = expected_improvement(np.array([mean]), np.array([std]), level)
        assert improvement == pytest.approx([expected], rel=1e-4, abs=1e-7)


def test_without_uncertainty_the_improvement_is_what_exceeds_the_level():
    mean = np.array([-1.0, 0.5, 2.0])
    assert expected_improvement(mean, np.zeros(3), 0.5).tolist() == [0.0, 0.0, 1.5]
