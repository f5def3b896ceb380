import dataclasses

import pytest

from nas.analysis.ladder import RUNGS, judge, references, rung_spec
from search_spaces.published import published
from tests.nas.report import runs

GATE = 0.04


def from_table(*rungs):
    """Runs whose PSNR is rungs[rung][seed]."""
    made = runs.ladder(seeds=len(rungs[0]), noise=0)
    return [
        dataclasses.replace(run, psnr_db=rungs[RUNGS.index(run.rung)][run.seed]) for run in made
    ]


def test_the_last_rung_is_span():
    assert rung_spec("28x6", 4) == published("span")
    assert rung_spec("28x6", 2).scale == 2


def test_rung_spec_has_the_channels_and_blocks_of_its_name():
    spec = rung_spec("16x3", 4)
    assert [block.kind for block in spec.blocks] == ["spab"] * 3 + ["conv"]
    assert {dict(part.args)["channels"] for part in (spec.stem, *spec.blocks, spec.fusion)} == {16}
    assert spec.taps == ("stem", "block4", "block1", "block3.inner")


def test_ladder_passes_when_in_order_and_wide():
    verdict = judge(runs.ladder(runs.GOOD, noise=0.01), GATE)
    assert verdict.passes
    assert verdict.in_order
    assert verdict.orders == (True, True, True)
    assert verdict.spread_db == pytest.approx(0.40, abs=0.03)
    assert "3 of 3 seeds" in verdict.reason


def test_ladder_fails_when_one_seed_is_out_of_order():
    verdict = judge(from_table((26.1, 26.1), (26.3, 26.31), (26.4, 26.30), (26.6, 26.6)), GATE)
    assert not verdict.passes
    assert verdict.orders == (True, False)
    assert "order" in verdict.reason
    assert "1 of 2 seeds" in verdict.reason


def test_ladder_fails_when_two_rungs_are_equal():
    assert not judge(
        from_table((26.1, 26.11), (26.3, 26.31), (26.3, 26.31), (26.6, 26.61)), GATE
    ).in_order


@pytest.mark.parametrize(("spread", "passes"), [(0.155, False), (0.165, True)])
def test_ladder_needs_four_gate_margins(spread, passes):
    rungs = [(26 + share * spread, 26.001 + share * spread) for share in (0, 0.3, 0.6, 1)]
    verdict = judge(from_table(*rungs), GATE)
    assert verdict.in_order
    assert verdict.passes is passes
    assert ("gate margins" in verdict.reason) is not passes


@pytest.mark.parametrize(("apart", "passes"), [(0.060, True), (0.075, False)])
def test_ladder_needs_five_seed_deviations(apart, passes):
    """Two seeds `apart` deviate by apart / sqrt(2) on every rung; the spread is 0.24 dB."""
    rungs = [(26 + step, 26 + step + apart) for step in (0, 0.08, 0.16, 0.24)]
    verdict = judge(from_table(*rungs), GATE)
    assert verdict.in_order
    assert verdict.seed_std_db == pytest.approx(apart / 2**0.5)
    assert verdict.passes is passes
    assert ("less than 5 seed deviations" in verdict.reason) is not passes


def test_ladder_fails_with_a_single_seed():
    verdict = judge(runs.ladder(seeds=1, noise=0), GATE)
    assert verdict.in_order
    assert verdict.seed_std_db is None
    assert not verdict.passes
    assert "one seed" in verdict.reason


def test_ladder_names_the_rungs_that_have_no_run():
    with pytest.raises(ValueError, match="no run of 20x4, 28x6"):
        judge([run for run in runs.ladder() if run.rung in ("12x1", "16x3")], GATE)


def test_reference_is_the_mean_of_span():
    assert references(from_table((1, 1), (2, 2), (3, 3), (26.5, 26.7))) == {
        600: pytest.approx(26.6)
    }
