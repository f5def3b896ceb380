import dataclasses

import numpy as np
import pytest

from nas.convergence import eligible, has_plateaued, volumes
from nas.results import table
from tests.nas.report import runs


def grown(gains):
    """A run whose trials cost a little less than the baseline and gain so many dB, one after the other."""
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
