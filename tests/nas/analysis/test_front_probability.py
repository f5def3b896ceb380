import dataclasses

import numpy as np
import pandas as pd
import pytest

from nas.analysis.front_probability import front_probability
from nas.analysis.results import table
from nas.score import NTIRE2026_WEIGHTS
from tests.nas.report import runs

OBJECTIVES = ("psnr_gain_db", "runtime_ratio")


def rows(*found):
    """Gain, ratio, half-width and seeds of each."""
    frame = pd.DataFrame(
        found, columns=["psnr_gain_db", "runtime_ratio", "runtime_ci", "psnr_seeds"]
    )
    score = 0.8 * np.exp(2 * frame["runtime_ratio"])
    return frame.assign(runtime_ms=7.0 * frame["runtime_ratio"], score=score)


def probability(frame, objectives=OBJECTIVES, gate_db=None, std=0.02):
    return front_probability(
        frame, objectives, seed_std_db=std, gate_db=gate_db, weights=NTIRE2026_WEIGHTS
    ).tolist()


def test_what_is_far_apart_is_certain():
    assert probability(rows((0.0, 1.0, 0.0, 1), (-0.5, 0.5, 0.01, 1), (-0.9, 0.9, 0.01, 1))) == [
        1,
        1,
        0,
    ]


def test_equal_networks_beat_each_other_half_the_time():
    """Of two alike in PSNR the cheaper is on the front for sure, the dearer by luck alone."""
    found = probability(rows((0.0, 1.0, 0.001, 1), (0.0, 0.9, 0.001, 1)))
    assert found[1] == 1
    assert found[0] == pytest.approx(0.5, abs=0.08)


def test_distance_in_deviations_decides():
    """0.02 dB behind at a deviation of 0.02 dB each: P(N(0, 2) > 1) = 0.24."""
    found = probability(rows((-0.02, 1.0, 0.0, 1), (0.0, 0.9, 0.0, 1)))
    assert found[0] == pytest.approx(0.24, abs=0.07)


def test_more_seeds_make_surer():
    one, many = (probability(rows((-0.02, 1.0, 0.0, n), (0.0, 0.9, 0.0, n)))[0] for n in (1, 16))
    assert many < 0.03 < one


def test_runtime_is_redrawn_with_its_interval():
    wide = rows((0.0, 0.92, 0.1, 1), (0.5, 0.9, 0.1, 1))
    assert 0.2 < probability(wide)[0] < 0.6
    assert probability(wide.assign(runtime_ci=0.001))[0] == 0
    ms = probability(wide, ("psnr_gain_db", "runtime_ms"))[0]
    assert ms == pytest.approx(probability(wide)[0], abs=0.02)
    assert 0.2 < probability(wide, ("psnr_gain_db", "score"))[0] < 0.6


def test_believed_gate_may_be_missed():
    found = probability(
        rows((-0.04, 0.5, 0.0, 1), (0.3, 1.0, 0.0, 1), (-0.5, 0.1, 0.0, 1)), gate_db=-0.04
    )
    assert found[0] == pytest.approx(0.5, abs=0.08)
    assert found[1:] == [1, 0]


def test_exact_objectives_know_no_doubt():
    frame = rows((0.0, 1.0, 0.1, 1), (-0.1, 0.9, 0.1, 1)).assign(params=[10, 20])
    assert probability(frame, ("params",)) == [1, 0]


def test_table_says_it_for_the_rows_that_compete():
    state = runs.search(40)
    frame = table(state)
    known = frame["front_probability"].notna()
    assert set(frame.loc[known, "state"]) == {"complete"}
    assert frame.loc[frame["on_front"] == "yes", "front_probability"].min() > 0.3
    off = frame[known & (frame["on_front"] == "no")]
    assert np.median(off["front_probability"]) < 0.3
    assert len(frame) == len(state.records)


def test_without_a_second_seed_nothing_is_said():
    state = dataclasses.replace(
        runs.search(20), ladder=tuple(runs.ladder(runs.GOOD, noise=0.0, seeds=1))
    )
    assert table(state)["front_probability"].isna().all()
