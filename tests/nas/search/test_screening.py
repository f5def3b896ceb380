import pytest

from nas.search.model.incumbents import Incumbent
from nas.search.screening import Screen

FRONT = ("psnr_gain_db", "runtime_ratio")


def screen(bound_db=0.1, goal="front", objectives=FRONT, incumbent=None):
    costs = {"runtime_ratio": 0.8, "params": 100.0, "score": 7.0} | (incumbent or {})
    gain = costs.pop("gain_db", 0.2)
    return Screen(
        bound_db=bound_db,
        gate_db=-0.04,
        goal=goal,
        objectives=objectives,
        incumbents=(Incumbent(point=(0,), number=7, gain_db=gain, costs=costs),),
    )


@pytest.mark.parametrize(
    ("made", "costs", "is_screened"),
    [
        (screen(), {"runtime_ratio": 0.9}, True),
        (screen(), {"runtime_ratio": 0.8}, True),  # equal cost, less PSNR
        (screen(), {"runtime_ratio": 0.79}, False),
        (screen(bound_db=0.2), {"runtime_ratio": 0.9}, False),  # it may come out equal
        (screen(), {"params": 1.0}, False),  # not timed yet
        (
            screen(objectives=("psnr_gain_db", "params")),
            {"params": 120.0},
            True,
        ),  # before it is timed
        (screen(objectives=(*FRONT, "params")), {"runtime_ratio": 0.9, "params": 99.0}, False),
        (
            screen(objectives=("runtime_ratio",)),
            {"runtime_ratio": 0.8},
            False,
        ),  # equal rows all stay
        (screen(objectives=("runtime_ratio",)), {"runtime_ratio": 0.81}, True),
        (screen(goal="score"), {"runtime_ratio": 0.9, "score": 7.1}, True),
        (screen(goal="score"), {"runtime_ratio": 0.9, "score": 6.9}, False),
        (screen(goal="score", bound_db=-0.05), {"score": 6.9}, True),  # the gate
        (screen(goal="psnr"), {}, True),
        (screen(goal="psnr", bound_db=0.3), {"runtime_ratio": 99.0}, False),
    ],
)
def test_only_what_cannot_pay_is_screened(made, costs, is_screened):
    assert bool(made.reason(costs)) == is_screened


def test_the_reason_names_the_rival_and_the_figures():
    assert screen().reason({"runtime_ratio": 0.9}) == (
        "screened: trial 7 cannot be beaten (runtime_ratio 0.9 to 0.8, at most +0.100 dB to +0.200 dB)"
    )
