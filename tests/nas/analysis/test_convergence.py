import dataclasses

import numpy as np
import pytest

from nas.analysis.convergence import eligible, has_plateaued, volumes
from nas.analysis.results import table
from tests.nas.report import runs


def grown(gains):
    """A run whose trials cost a little less than the baseline and gain so many dB each."""
    spec = runs.rung_spec("16x3", 4)
    records = [
        runs.complete(0),
        *(runs.complete(n, gain=g, ratio=0.9, spec=spec) for n, g in enumerate(gains, 1)),
    ]
    return dataclasses.replace(runs.search(5), records=tuple(records))


@pytest.mark.parametrize(
    ("gains", "ended"),
    [
        ([0.01 * n for n in range(30)], False),  # it grows to the last
        ([0.3] + [0.0] * 29, True),
        ([0.01 * n for n in range(20)] + [0.0] * 10, True),
        ([0.3] + [0.0] * 18, False),  # too few to tell
        ([0.0] * 29 + [0.3], False),
    ],
)
def test_plateau_is_a_third_of_the_trials_without_growth(gains, ended):
    assert has_plateaued(grown(gains)) == ended


def test_volume_never_falls():
    state = runs.search(60)
    frame = table(state)
    found = volumes(frame, eligible(frame), state)
    assert (np.diff(found) >= 0).all()
    assert found[-1] > 0


def test_volume_counts_in_shares_of_the_baseline_whatever_the_columns_are():
    """A trial of half the baseline's costs and 0.3 dB better adds a box, measured by hand."""
    first = runs.complete(0)
    cost, latency = first.cost, first.latency
    half = dataclasses.replace(
        cost, params=cost.params // 2, flops=cost.flops // 2, activations=cost.activations // 2,
        memory_mib=cost.memory_mib / 2,
    )  # fmt: skip
    better = runs.complete(1, gain=0.3, ratio=0.5, spec=runs.rung_spec("16x3", 4))
    better = dataclasses.replace(
        better,
        cost=half,
        latency=dataclasses.replace(better.latency, runtime_ms=latency.runtime_ms / 2),
    )
    state = runs.run_state([first, better])
    found = {}
    for costs in (
        ("runtime_ratio",),
        ("params", "flops", "runtime_ratio"),
        ("memory_mib",),
        ("runtime_ms",),
    ):
        state = dataclasses.replace(state, objectives=("psnr_gain_db", *costs))
        frame = table(state)
        found[costs] = volumes(frame, eligible(frame), state)
    base_db, gained_db = found["runtime_ratio",][0], 0.3
    for costs, volume in found.items():
        inside, all_of = base_db, (base_db + gained_db) * 1.5 ** len(costs)
        assert volume == pytest.approx([inside, all_of]), costs


def test_volume_of_one_minimised_objective_is_a_share():
    state = dataclasses.replace(runs.run_state([runs.complete(0)]), objectives=("flops",))
    frame = table(state)
    assert volumes(frame, eligible(frame), state) == pytest.approx([1.0])
