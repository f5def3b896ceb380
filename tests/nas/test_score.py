import dataclasses
import math

import pytest

from nas.score import Baseline, Challenge, Gate, Weights, challenge_score, ranks

CHALLENGE = Challenge(
    name="test",
    weights=Weights(runtime=0.7, flops=0.2, params=0.1),
    baseline=Baseline(
        name="SPAN", device="RTX A6000", runtime_ms=7.74, flops=9.83e9, params=0.151e6
    ),
    gate=Gate(valid_db=26.90, test_db=26.99, tolerance_db=0.01, min_gain_db=-0.04),
)


def test_baseline_scores_e_squared():
    assert challenge_score(1, 1, 1) == pytest.approx(math.e**2, rel=1e-15)
    assert CHALLENGE.score(1, 1, 1) == pytest.approx(math.e**2, rel=1e-15)


def test_challenge_score_weighs_each_ratio_as_in_2026():
    # SPANV2 as printed: 5.24 ms, 9.11 G, 0.139 M; worked by hand
    expected = (
        0.8 * math.exp(1.354005167958656)
        + 0.1 * math.exp(1.853509664292981)
        + 0.1 * math.exp(1.841059602649007)
    )
    assert challenge_score(5.24 / 7.74, 9.11 / 9.83, 0.139 / 0.151) == pytest.approx(
        expected, rel=1e-12
    )
    assert challenge_score(2, 1, 1) - challenge_score(1, 1, 1) == pytest.approx(
        0.8 * (math.exp(4) - math.exp(2))
    )
    assert challenge_score(1, 2, 1) - challenge_score(1, 1, 1) == pytest.approx(
        0.1 * (math.exp(4) - math.exp(2))
    )


def test_score_is_the_weighted_sum_of_components():
    parts = CHALLENGE.components(0.5, 0.9, 1.2)
    assert (parts.runtime, parts.flops, parts.params) == pytest.approx(
        (math.exp(1), math.exp(1.8), math.exp(2.4))
    )
    assert CHALLENGE.score(0.5, 0.9, 1.2) == pytest.approx(
        0.7 * parts.runtime + 0.2 * parts.flops + 0.1 * parts.params
    )


@pytest.mark.parametrize(
    ("params_m", "flops_g", "printed"),
    [(0.038, 2.68, (1.65, 1.73)), (0.051, 3.30, (1.97, 1.96)), (0.086, 5.24, (3.12, 2.90))],
    ids=["ZenoSR", "XuptSR", "XSR"],
)
def test_components_equal_the_reports_sub_scores(params_m, flops_g, printed):
    parts = CHALLENGE.components(1, flops_g / 9.83, params_m / 0.151)
    assert (round(parts.params, 2), round(parts.flops, 2)) == printed


def test_score_stays_finite_for_huge_networks():
    assert math.isfinite(challenge_score(1e9, 1e9, 1e9))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.1])
def test_score_refuses_ratios_that_mean_nothing(bad):
    with pytest.raises(ValueError, match="flops_ratio must be finite and not negative"):
        challenge_score(1, bad, 1)


def test_gate_has_a_tolerance_and_asks_for_what_is_given():
    gate = CHALLENGE.gate
    assert gate.passes(valid_db=26.89, test_db=26.98)
    assert not gate.passes(valid_db=26.889, test_db=27.5)
    assert not gate.passes(valid_db=27.5, test_db=26.979)
    assert gate.passes(valid_db=26.90)
    assert not gate.passes(test_db=26.90)
    strict = dataclasses.replace(gate, tolerance_db=0.0)
    assert strict.passes(valid_db=26.90, test_db=26.99)
    assert not strict.passes(valid_db=26.90, test_db=26.98)


def test_relative_gate_has_no_tolerance():
    assert CHALLENGE.gate.passes_relative(26.90 - 26.94)
    assert not CHALLENGE.gate.passes_relative(-0.041)


def test_ranks_share_the_smaller_rank():
    assert ranks([3.0, 1.0, 2.0, 1.0, 9.0]) == [4, 1, 3, 1, 5]
    assert ranks([]) == []


def test_weights_must_sum_to_one():
    with pytest.raises(
        ValueError, match=r"must sum to 1.*0\.9 \+ 0\.15 \+ 0\.15 = 1\.2; set all three"
    ):
        Weights(runtime=0.9, flops=0.15, params=0.15)
    with pytest.raises(ValueError, match="not negative"):
        Weights(runtime=1.2, flops=-0.1, params=-0.1)


@pytest.mark.parametrize("field", ["runtime_ms", "flops", "params"])
@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_baseline_must_be_positive(field, bad):
    with pytest.raises(ValueError, match=f"{field} of the baseline must be finite and above 0"):
        dataclasses.replace(CHALLENGE.baseline, **{field: bad})


def test_gate_refuses_a_negative_tolerance():
    with pytest.raises(ValueError, match="tolerance_db must be finite and not negative"):
        dataclasses.replace(CHALLENGE.gate, tolerance_db=-0.01)
