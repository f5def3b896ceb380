import random
import statistics

import pytest

from nas.analysis.trust import agreement, measure_trust, noise


def pairs(rng, count, spread, error):
    """Networks whose quality spreads, read with an error at either fidelity."""
    quality = [rng.gauss(0, spread) for _ in range(count)]
    return [(q + rng.gauss(0, error), q + rng.gauss(0, error)) for q in quality]


def test_tau_is_that_of_its_pairs():
    found = agreement([(1, 1), (2, 3), (3, 2), (4, 4), (5, 5)], lower=10, upper=20)
    assert found.tau == pytest.approx(0.8)  # one of ten pairs is the wrong way round
    assert found.low < 0.8 < found.high
    assert agreement([(n, -n) for n in range(9)], lower=10, upper=20).tau == pytest.approx(-1)


@pytest.mark.parametrize("count", [6, 10, 24])
def test_interval_covers_the_true_tau_in_nineteen_of_twenty_samples(count):
    rng = random.Random(0)
    true = statistics.fmean(
        agreement(pairs(rng, 60, 1.0, 0.5), lower=1, upper=2).tau for _ in range(30)
    )
    found = [agreement(pairs(rng, count, 1.0, 0.5), lower=1, upper=2) for _ in range(60)]
    assert sum(one.low <= true <= one.high for one in found) >= 56


def test_interval_of_networks_that_agree_wholly_still_has_a_width():
    found = agreement([(n, n) for n in range(8)], lower=10, upper=20)
    assert found.tau == pytest.approx(1)
    assert found.low < 0.95


def test_more_networks_narrow_the_interval():
    widths = []
    for count in (8, 30, 120):
        one = agreement(pairs(random.Random(1), count, 1.0, 0.4), lower=1, upper=2)
        widths.append(one.high - one.low)
    assert widths == sorted(widths, reverse=True)


def test_few_networks_say_nothing():
    found = agreement([(1, 1), (2, 2)], lower=10, upper=20)
    assert (found.num_networks, found.tau, found.low) == (2, None, None)


def test_noise_is_pooled_over_networks_and_says_what_can_be_told_apart():
    rng = random.Random(0)
    runs = {str(n): [n + rng.gauss(0, 0.02) for _ in range(3)] for n in range(200)} | {
        "once": [5.0]
    }
    found = noise(runs, fidelity=10)
    assert found.std_db == pytest.approx(0.02, rel=0.1)
    assert found.gap_db == pytest.approx(1.96 * 2**0.5 * found.std_db, rel=1e-3)
    assert found.num_networks == 200
    wrong = sum(
        abs(a - b) > found.gap_db for a, b, _ in list(runs.values())[:-1]
    )  # equal but for their seed
    assert 2 <= wrong <= 20  # about one in twenty


def test_noise_of_single_trainings_is_not_known():
    assert noise({"a": [1.0], "b": [2.0]}, fidelity=10) is None


def test_trust_is_of_networks_that_were_read_at_both():
    curves = {str(n): {10: n, 20: n, 40: -n} for n in range(6)} | {"part": {10: 9, 20: 9}}
    found = measure_trust(
        curves, [("a", {10: 1.0, 40: 2.0}), ("a", {10: 1.2, 40: 2.0}), ("b", {40: 3.0})]
    )
    assert [(one.lower, one.upper, one.num_networks) for one in found.steps] == [
        (10, 20, 7),
        (20, 40, 6),
    ]
    assert [one.tau for one in found.steps] == pytest.approx([1, -1])
    assert [one.tau for one in found.to_top] == pytest.approx([-1, -1])
    assert [(one.fidelity, one.num_networks) for one in found.noise] == [(10, 1), (40, 1)]
    assert found.noise[0].std_db == pytest.approx(0.2 / 2**0.5)


def test_trust_of_nothing_is_empty():
    assert measure_trust({}, []).steps == ()
