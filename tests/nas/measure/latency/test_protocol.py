"""Simulated timers: what is true is known, so what a reading says of it can be checked."""

import statistics

import numpy as np
import pytest

from nas.measure.latency.protocol import BASELINE, Limits, read
from nas.measure.latency.rounds import Block, Round, calm, half_width, ratios, summarise

LIMITS = Limits(warmup_seconds=0.1, min_rounds=15, max_rounds=100, max_seconds=60, target_ci=0.01)
ONE = [1.0]


class Timer:
    """Networks whose runtimes are known, with noise skewed to the slow side, drift and interruptions."""

    def __init__(self, seed, *candidates, noise=0.0, drift=0.0, hit=0.0, sizes=(0.01,)):
        self.rng = np.random.default_rng(seed)
        self.seconds = [tuple(size * ratio for size in sizes) for ratio in (1, *candidates)]
        self.noise, self.drift, self.hit, self.calls = noise, drift, hit, []

    def __call__(self, subject, place, repeats):
        self.calls.append((subject, place, repeats))
        slow = 1 + self.drift * len(self.calls)
        slow *= 1 + self.noise * statistics.fmean(self.rng.exponential(size=repeats))
        if self.rng.random() < self.hit:
            slow *= 1 + self.rng.exponential()
        return Block(seconds=self.seconds[subject][place] * slow)


def reading(timer, weights=ONE, limits=LIMITS):
    return readings(timer, weights, limits)[0]


def readings(timer, weights=ONE, limits=LIMITS, pause=lambda: False):
    return read(timer, len(timer.seconds) - 1, weights, limits, np.random.default_rng(0), pause)


def test_a_quiet_reading_is_exact_and_short():
    found = reading(Timer(0, 0.7))
    assert found.ratio == pytest.approx(0.7)
    assert (found.candidate_ms, found.baseline_ms) == pytest.approx((7.0, 10.0))
    assert (found.rounds, found.rejected, found.is_disturbed) == (15, 0, False)
    assert found.ci == pytest.approx(0, abs=1e-12)
    assert (found.ratio_low, found.ratio_high) == pytest.approx((0.7, 0.7))


@pytest.mark.parametrize(
    "calls", [0, 3, 7, 20], ids=["at once", "warming up", "counting repeats", "in a round"]
)
def test_a_candidate_that_fails_leaves_the_others_their_readings(calls):
    timer = Timer(0, 0.7, 0.5, 0.9)

    def failing(subject, place, repeats):
        if subject == 2 and sum(call[0] == 2 for call in timer.calls) >= calls:
            raise RuntimeError("out of memory")
        return timer(subject, place, repeats)

    first, failed, last = read(failing, 3, ONE, LIMITS, np.random.default_rng(0))
    assert (first.ratio, last.ratio) == pytest.approx((0.7, 0.9))
    assert str(failed) == "out of memory"
    assert sum(call[0] == 2 for call in timer.calls) == calls


def test_a_reading_without_its_baseline_is_none():
    def failing(subject, place, repeats):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        read(failing, 1, ONE, LIMITS, np.random.default_rng(0))


@pytest.mark.parametrize("noise", [0.01, 0.05])
def test_the_interval_covers_the_truth_about_as_often_as_it_says(noise):
    held = 0
    for seed in range(30):
        found = reading(Timer(seed, 0.7, noise=noise))
        held += abs(found.ratio - 0.7) <= found.ci
    assert held >= 25


def test_a_network_against_itself_is_not_faster_than_itself():
    """Rounds kept by the baseline's blocks alone would give 1.02, single runtimes against means 0.99."""
    found = [reading(Timer(seed, 1.0, noise=0.1)).ratio for seed in range(40)]
    assert statistics.fmean(found) == pytest.approx(1, abs=0.003)


def test_drift_of_the_clock_cancels():
    assert reading(Timer(0, 0.7, drift=0.001)).ratio == pytest.approx(0.7, rel=1e-3)


def test_interrupted_rounds_are_set_aside_and_counted():
    found = reading(Timer(1, 0.7, noise=0.005, hit=0.2))
    assert found.ratio == pytest.approx(0.7, rel=0.01)
    assert found.rejected >= 3
    assert found.rounds >= 15


def test_a_noisy_machine_gets_an_answer_from_the_calmer_half_and_a_wide_interval():
    found = reading(Timer(2, 0.7, noise=0.5, hit=0.5))
    assert found.rounds + found.rejected == 100
    assert found.rounds == 50
    assert found.is_disturbed
    assert found.ci > 0.01 * found.ratio
    assert found.ratio == pytest.approx(0.7, rel=0.15)


def test_the_target_interval_ends_a_reading_and_time_ends_it_too():
    loose = reading(Timer(3, 0.7, noise=0.05))
    assert loose.ci <= 0.01 * loose.ratio
    slow = Timer(4, 0.7, sizes=(10.0,), noise=0.3)
    assert reading(slow).rounds + reading(slow).rejected == 3


def test_a_timer_that_says_nothing_ends_too():
    with pytest.raises(ZeroDivisionError):
        reading(Timer(0, 0.0, sizes=(0.0,)))


def test_short_forwards_are_repeated_to_make_a_block():
    timer = Timer(0, 0.05)
    reading(timer)
    block = [(BASELINE, 0, 1), (1, 0, 10), (1, 0, 10), (BASELINE, 0, 1)]
    assert timer.calls[-4:] == block


def test_sizes_are_weighted_before_the_ratio_is_taken():
    timer = Timer(0, 1.0, sizes=(0.01, 0.1))
    timer.seconds[1] = (0.02, 0.05)
    found = reading(timer, [0.75, 0.25])
    assert found.ratio == pytest.approx((0.75 * 20 + 0.25 * 50) / (0.75 * 10 + 0.25 * 100))
    assert (found.candidate_ms, found.baseline_ms) == pytest.approx((27.5, 32.5))


def one_round(*, baseline=(0.010, 0.010), candidate=(0.007, 0.007), idle=0.0):
    first, second = baseline
    third, fourth = candidate
    return Round(baseline=((first,), (second,)), candidate=((third,), (fourth,)), idle=idle)


@pytest.mark.parametrize(
    "disturbed",
    [
        one_round(baseline=(0.010, 0.0104)),
        one_round(candidate=(0.0073, 0.007)),
        one_round(idle=0.06),
        one_round(baseline=(0.012, 0.012)),
        one_round(candidate=(0.009, 0.009)),
    ],
)
def test_a_disturbed_round_is_known(disturbed):
    quiet = [one_round() for _ in range(4)]
    assert calm([*quiet, disturbed], ONE) == quiet


def test_at_least_half_of_the_rounds_are_kept_the_calmest_first():
    rounds = [one_round(baseline=(0.010, 0.010 + 0.001 * i)) for i in range(1, 6)]
    assert calm(rounds, ONE) == rounds[:3]
    assert summarise(rounds, ONE, np.random.default_rng(0)).rejected == 2
    assert ratios(rounds[:1], ONE) == pytest.approx([0.007 / 0.0105])


def test_half_width_of_normal_noise_is_that_of_the_formula():
    values = np.random.default_rng(0).normal(1, 0.02, size=400)
    expected = 1.96 * 1.2533 * 0.02 / 400**0.5  # of a median
    assert half_width(list(values), np.random.default_rng(0)) == pytest.approx(expected, rel=0.25)


def test_many_candidates_are_read_against_one_baseline():
    found = readings(Timer(5, 0.5, 0.7, 1.3, noise=0.02, drift=1e-4))
    assert [one.ratio for one in found] == pytest.approx([0.5, 0.7, 1.3], rel=0.01)


def test_candidates_take_turns_in_shuffled_order_each_between_its_own_baselines():
    timer = Timer(6, *[1.0] * 6)
    readings(timer)
    rounds = timer.calls[-15 * 6 * 4 :]
    turns = [[call[0] for call in rounds[i : i + 4]] for i in range(0, len(rounds), 4)]
    assert all(turn == [BASELINE, turn[1], turn[1], BASELINE] for turn in turns)
    orders = [tuple(turn[1] for turn in turns[i : i + 6]) for i in range(0, len(turns), 6)]
    assert all(sorted(order) == [1, 2, 3, 4, 5, 6] for order in orders)
    assert len(set(orders)) > 10


def test_a_candidate_that_is_known_leaves_the_rounds():
    timer = Timer(7, 0.7, 0.7)

    class Restless:
        """The second candidate, 100 rounds of which say little."""

        seconds = timer.seconds

        def __call__(self, subject, place, repeats):
            block = timer(subject, place, repeats)
            return Block(seconds=block.seconds * (1 + (subject == 2) * timer.rng.exponential()))

    known, restless = readings(Restless())
    assert known.rounds == 15
    assert restless.rounds + restless.rejected == 100


def test_after_a_pause_both_networks_run_once_untimed():
    pauses = iter([False] * 7 + [True])  # six passes to warm up, the first round, the second
    timer = Timer(8, 0.7)
    found = readings(timer, pause=lambda: next(pauses, False))[0]
    assert found.rounds == 15
    rounds = timer.calls[-15 * 4 - 2 :]
    assert rounds[4:6] == [(BASELINE, 0, 1), (1, 0, 1)]


def test_a_reading_is_disturbed_when_more_than_a_fifth_of_its_rounds_are():
    calm_round, gap = one_round(), one_round(baseline=(0.010, 0.0104))
    rng = np.random.default_rng(0)
    assert not summarise([calm_round] * 8 + [gap] * 2, ONE, rng).is_disturbed
    assert summarise([calm_round] * 7 + [gap] * 3, ONE, rng).is_disturbed
