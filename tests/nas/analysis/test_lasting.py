"""How far data last, and what longer trainings say of a ladder."""

import dataclasses

import pytest

from nas.analysis.ladder import RUNGS, judge
from nas.analysis.lasting import list_readings, read_lasting
from nas.analysis.longer_ladder import judge_longer, list_longer_sizes
from tests.nas.report import runs

GATE = 0.04
NOISE = 0.01  # of `runs.ladder`, whose seed deviation is near 0.006


def longer_runs(psnrs_db, curve=((150, 25.9), (300, 26.2), (600, 26.4), (1200, 26.6))):
    """One training of 2,400 steps of each size; the curve is the largest one's on its way."""
    return [
        dataclasses.replace(run, psnr_db=psnr_db, fidelity=2400, curve=(*curve, (2400, psnr_db)))
        for run, psnr_db in zip(runs.ladder(seeds=1), psnrs_db, strict=True)
    ]


def judged(psnrs_db, means=runs.GOOD, *, from_parent=False, **curve):
    ladder = runs.ladder(means, noise=NOISE)
    brief = judge(ladder, GATE)
    sizes = list_longer_sizes(brief, RUNGS)
    longer = [run for run in longer_runs(psnrs_db, **curve) if run.rung in sizes]
    return judge_longer(brief, ladder, longer, RUNGS, from_parent=from_parent)


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 20, 800, 8000])
def test_longer_trainings_are_read_before_at_and_after_the_proxys_end(steps):
    readings = list_readings(steps)
    assert readings[-1] == 4 * steps
    assert steps in readings
    assert list(readings) == sorted(set(readings))
    assert readings[0] >= 1


@pytest.mark.parametrize(
    ("psnrs_db", "gains_until"),
    [
        ((25.0, 25.5, 26.0), 400),  # gains to its end
        ((25.0, 25.5, 25.4), 200),  # loses
        ((25.0, 25.5, 25.515), 200),  # gains less than two deviations
        ((25.0, 25.015, 25.03), 200),  # the first two are one gain, the last is none
        ((25.5, 25.0, 25.4), 100),  # comes back, and no further
        ((25.0, 24.9, 25.2), 400),  # a dip is no end
    ],
)
def test_data_last_as_far_as_a_later_reading_gains_more_than_noise(psnrs_db, gains_until):
    lasting = read_lasting("28x6", tuple(zip((100, 200, 400), psnrs_db, strict=True)), 0.01)
    assert lasting.gains_until == gains_until
    assert lasting.is_used_up is (gains_until < 400)
    assert lasting.covers(gains_until)
    assert lasting.covers(gains_until + 1) is not lasting.is_used_up


def test_without_a_seed_deviation_every_higher_reading_is_a_gain():
    assert not read_lasting("28x6", ((100, 25.0), (200, 25.001)), None).is_used_up
    assert read_lasting("28x6", ((100, 25.0), (200, 25.0)), None).gains_until == 100


def test_ladder_that_stays_in_order_passes_and_says_so():
    verdict = judged((26.2, 26.4, 26.6, 26.8))
    assert verdict.passes
    assert verdict.reason.endswith("; at 2,400 steps in order too, spread 0.60 dB")
    assert not verdict.lasting.is_used_up
    # At the proxy's own steps the ladder's trainings count, which end there.
    assert dict(verdict.lasting.readings)[600] == pytest.approx(runs.GOOD[-1], abs=NOISE)


def test_ladder_whose_order_turns_round_fails():
    """Five photographs after 16,000 steps: the second size is the best."""
    verdict = judged((28.833, 28.971, 28.945, 28.879), means=(28.5, 28.7, 28.8, 28.915))
    assert not verdict.passes
    assert "at 2,400 steps the sizes do not come out in order any more (28.83, 28.97" in (
        verdict.reason
    )
    assert verdict.lasting.gains_until == 600  # the largest lost, and the ladder ends before that


@pytest.mark.parametrize(("spread_db", "passes"), [(0.45, True), (0.41, True), (0.3, False)])
def test_ladder_has_to_spread_as_far_as_before(spread_db, passes):
    psnrs_db = [26.4 + share * spread_db for share in (0, 0.3, 0.7, 1)]
    verdict = judged(psnrs_db)
    assert verdict.passes is passes
    assert passes or "they spread over 0.300 dB, less than the 0.4" in verdict.reason


@pytest.mark.parametrize(("spread_db", "passes"), [(0.3, True), (0.17, True), (0.15, False)])
def test_sizes_that_were_cut_from_a_parent_may_catch_up_with_it(spread_db, passes):
    """Its smaller sizes gain more by longer trainings: SPAN's 12x1, cut, is 1.42 dB below, then 1.15."""
    psnrs_db = [26.8 + share * spread_db for share in (0, 0.3, 0.7, 1)]
    verdict = judged(psnrs_db, from_parent=True)
    assert verdict.passes is passes
    assert (
        passes or "they spread over 0.150 dB, less than 4 gate margins (0.16 dB)" in verdict.reason
    )


def test_ladder_fails_where_the_data_are_used_up_before_its_end():
    curve = ((150, 26.3), (300, 26.9), (600, 26.8), (1200, 26.7))
    verdict = judged((26.0, 26.2, 26.4, 26.7), curve=curve)
    assert not verdict.passes
    assert verdict.lasting.gains_until == 300
    assert "the data are used up before its trainings end" in verdict.reason
    assert "after 300 of 600" in verdict.reason


def test_ladder_passes_where_the_data_are_used_up_later():
    verdict = judged((26.1, 26.3, 26.5, 26.7), curve=((300, 26.3), (600, 26.4), (1200, 26.9)))
    assert verdict.passes
    assert verdict.lasting.gains_until == 1200
    assert verdict.lasting.is_used_up


def test_ladder_that_fails_asks_for_its_largest_size_alone():
    verdict = judged((26.2, 26.4, 26.6, 26.8), means=runs.POOR)
    assert not verdict.passes
    assert not verdict.lasting.is_used_up
    assert verdict.reason == judge(runs.ladder(runs.POOR, noise=NOISE), GATE).reason
    used_up = judged((26.2, 26.4, 26.6, 26.0), means=runs.POOR, curve=((150, 26.5), (300, 26.4)))
    assert "the data are used up" in used_up.reason
