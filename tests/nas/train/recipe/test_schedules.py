"""Learning rates along a stage."""

import math

import pytest

from nas.train.recipe.schedules import Constant, Cosine, Linear, MultiStep

SCHEDULES = {
    "constant": Constant(),
    "linear": Linear(warmup=0.1),
    "cosine": Cosine(warmup=0.05, floor=0.01, periods=[1.0], peaks=[1.0]),
    "restarts": Cosine(warmup=0.0, floor=0.0, periods=[0.6, 0.4], peaks=[1.0, 0.5]),
    "multistep": MultiStep(warmup=0.0, milestones=[0.25, 0.5], decay=0.5),
}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 7, 1000])
def test_factor_stays_from_0_to_1(schedule, steps):
    factors = [schedule.factor(step, steps) for step in range(steps)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert max(factors) > 0.4


def test_cosine_falls_to_its_floor():
    schedule = Cosine(warmup=0.0, floor=0.1, periods=[1.0], peaks=[1.0])
    wanted = [0.1 + 0.45 * (1 + math.cos(math.pi * step / 100)) for step in range(100)]
    assert [schedule.factor(step, 100) for step in range(100)] == pytest.approx(wanted)


def test_cosine_rises_in_its_warmup():
    schedule = Cosine(warmup=0.2, floor=0.0, periods=[1.0], peaks=[1.0])
    rising = [schedule.factor(step, 100) for step in range(15)]
    assert rising == pytest.approx([(step + 1) / 20 for step in range(15)])


def test_steps_rise_in_their_warmup():
    schedule = MultiStep(warmup=0.1, milestones=[0.5], decay=0.5)
    factors = [schedule.factor(step, 100) for step in (0, 4, 9, 49, 50, 99)]
    assert factors == pytest.approx([0.1, 0.5, 1.0, 1.0, 0.5, 0.5])


def test_linear_ends_one_step_above_zero():
    schedule = Linear(warmup=0.2)
    assert [schedule.factor(step, 10) for step in range(10)] == pytest.approx(
        [0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Linear(warmup=1.5), "warmup must be from 0 to 1, a share, got 1.5"),
        (
            lambda: MultiStep(warmup=0.0, milestones=[0.5, 0.2], decay=0.5),
            "milestones must be one or more",
        ),
        (lambda: MultiStep(warmup=0.0, milestones=[], decay=0.5), "milestones must be one or more"),
        (
            lambda: MultiStep(warmup=0.0, milestones=[250000.0], decay=0.5),
            "milestones must be from 0 to 1",
        ),
        (
            lambda: Cosine(warmup=0.0, floor=0.0, periods=[0.5], peaks=[1.0]),
            "periods must be above 0 and add up to 1",
        ),
        (
            lambda: Cosine(warmup=0.0, floor=0.0, periods=[0.5, 0.5], peaks=[1.0]),
            "periods and peaks must be as many, got 2 and 1",
        ),
        (
            lambda: Cosine(warmup=0.0, floor=0.0, periods=[1.0], peaks=[5e2]),
            "peaks must be from 0 to 1, a share, got 500",
        ),
    ],
)
def test_what_is_wrong_is_said(make, message):
    with pytest.raises(ValueError, match=message):
        make()
