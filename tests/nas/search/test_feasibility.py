import dataclasses

import pytest

from nas.measure.cost import summed_cost
from nas.search import feasibility
from nas.search.feasibility import check_limits, why_empty
from search_spaces.spaces.members import least, members
from search_spaces.spaces.span import SpanSpace
from tests.nas.report import runs

SPACE = SpanSpace(
    scale=4, entry=["stem"], normalise=True, num_blocks=[1, 2, 3], channels=[8, 16, 24], block_channels=[1.0],
    tail_channels=[1.0], attention=["parameter_free", "conv1x1"], activation=["silu", "relu"], bias=[True],
    skip=["none", "near"], taps=["all"], head=["conv"],
)  # fmt: skip
COSTS = [summed_cost(spec) for spec in members(SPACE)]
SMALLEST = {name: min(cost[name] for cost in COSTS) for name in COSTS[0]}


def test_members_are_all_and_each_once():
    assert len(COSTS) == len({spec.arch_id for spec in members(SPACE)}) == 3 * 3 * 2 * 2 * 2


@pytest.mark.parametrize("name", SMALLEST)
def test_a_limit_below_the_smallest_member_is_refused_with_its_value(name):
    words = rf"limits\.{name}=\d+: none .* 72 members .* the smallest has {SMALLEST[name]:,}"
    with pytest.raises(ValueError, match=words):
        check_limits(SPACE, {name: SMALLEST[name] - 1}, seed=0)


@pytest.mark.parametrize("name", SMALLEST)
def test_a_limit_that_the_smallest_member_just_meets_is_taken(name):
    assert check_limits(SPACE, {name: SMALLEST[name]}, seed=0) == ""


def test_limits_that_exclude_each_other_are_refused(monkeypatch):
    costs = {"params": 10, "flops": 90}
    turned = {"params": 90, "flops": 10}
    monkeypatch.setattr(
        feasibility, "summed_cost", lambda spec: costs if "conv1x1" in spec.to_json() else turned
    )
    words = "limits.params=50, limits.flops=50: .* each can be met alone, and the nearest has"
    with pytest.raises(ValueError, match=words):
        check_limits(SPACE, {"params": 50, "flops": 50}, seed=0)


def test_limits_that_need_a_measurement_are_left_to_the_search():
    assert (
        check_limits(SPACE, {"runtime_ratio": 1e-9, "score": 1e-9, "memory_mib": 1e-9}, seed=0)
        == ""
    )


def test_a_named_architecture_that_meets_the_limits_is_enough():
    small = next(members(dataclasses.replace(SPACE, channels=[4], num_blocks=[1])))
    limits = {"params": SMALLEST["params"] - 1}
    assert check_limits(SPACE, limits, seed=0, also=[small]) == ""


def test_a_large_space_is_told_of_and_not_refused(monkeypatch):
    monkeypatch.setattr(feasibility, "MAX_LISTED", 10)
    notice = check_limits(SPACE, {"params": 1000}, seed=0)
    assert "limits.params=1000" in notice
    assert f"the smallest has {SMALLEST['params']:,} parameters" in notice
    assert "The search goes on" in notice


def test_a_rare_member_of_a_large_space_is_found(monkeypatch):
    monkeypatch.setattr(feasibility, "MAX_LISTED", 10)
    monkeypatch.setattr(feasibility, "NUM_DRAWN", 1)
    assert (
        check_limits(SPACE, {"params": SMALLEST["params"], "flops": SMALLEST["flops"]}, seed=0)
        == ""
    )


def test_least_ends_where_it_is_enough():
    seen = []

    def cost(spec):
        seen.append(spec)
        return summed_cost(spec)["params"]

    every = least(SPACE, cost)[0]
    count = len(seen)
    assert least(SPACE, cost, enough=10 * every)[0] <= 10 * every
    assert len(seen) - count < count


def rejected(number, ratio, error="limit: runtime_ratio"):
    record = runs.complete(number, ratio=ratio, spec=runs.rung_spec("16x3", 4))
    return dataclasses.replace(record, state="rejected", quality=None, error=error)


def test_an_empty_search_names_the_limit_that_rejected_most():
    records = [
        runs.complete(0),
        *(rejected(n, ratio) for n, ratio in enumerate((0.9, 0.6, 0.75), 1)),
    ]
    limits = {"runtime_ratio": 0.5, "params": 1e9}
    state = dataclasses.replace(runs.run_state(records), limits=limits)
    words = why_empty(state)
    assert "all 3 architectures" in words
    assert "3 of them by limits.runtime_ratio=0.5 (the closest has 0.6)" in words


def test_an_empty_search_names_another_reason_where_no_limit_rejected():
    records = [
        runs.complete(0),
        rejected(1, 0.9, "time_cap: a step takes 9 times the baseline's > 5"),
    ]
    state = dataclasses.replace(runs.run_state(records), limits={})
    assert "the last one by time_cap" in why_empty(state)


def test_a_search_with_a_trial_is_not_empty():
    records = [runs.complete(0), rejected(1, 0.9), runs.complete(2, spec=runs.rung_spec("20x4", 4))]
    state = dataclasses.replace(runs.run_state(records), limits={"runtime_ratio": 0.5})
    assert why_empty(state) == ""
    assert why_empty(runs.run_state([runs.complete(0)])) == ""
