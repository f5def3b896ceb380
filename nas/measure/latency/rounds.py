"""The rounds of a paired reading: which were disturbed, the others' ratio and its interval."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# A round is disturbed when one of these is exceeded:
MAX_GAP = 0.03  # between the two blocks of a network
MAX_IDLE = 0.05  # share of the time in which a block did not run
# Of a network over its median: another clock, or a neighbour that shares the memory.
MAX_SLOWDOWN = 0.10

MAX_REJECTED = 0.2  # share of the rounds: above it the reading is disturbed as a whole
# Share of a GPU forward's time in which the host issues it: from there the host decides that time.
HOST_BOUND = 0.8
NUM_RESAMPLES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Some forwards in a row.

    Attributes:
        seconds: of each.
        idle: share of the time in which they did not run.
        host: seconds in which the host issued each to a GPU; None: the CPU computes.
    """

    seconds: float
    idle: float = 0.0
    host: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Baseline, candidate, candidate, baseline: seconds a forward at each size, twice for both.

    Both have as many blocks, and are judged alike: noise is skewed to the slow side, so a median of
    single runtimes against means of two, or rounds chosen by the baseline alone, would favour one
    of them.

    Attributes:
        idle: of the worst block.
        host: seconds in which the host issued a forward, of baseline and candidate at each size;
            None: the CPU computes.
    """

    baseline: tuple[tuple[float, ...], tuple[float, ...]]
    candidate: tuple[tuple[float, ...], tuple[float, ...]]
    idle: float
    host: tuple[tuple[float, ...], tuple[float, ...]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The result of a candidate's rounds, from those that were kept.

    Attributes:
        ratio: median of the rounds' ratios.
        ci: half-width of its 95 % interval.
        ratio_low: 10th percentile of the rounds' ratios.
        ratio_high: 90th percentile.
        rounds: number of rounds that were kept.
        rejected: number of disturbed rounds that were left out.
        idle: share of the time in which a typical round's worst block did not run, of all rounds.
        candidate_host_ms: time in which the host issued a forward to a GPU; None on a CPU.
        baseline_host_ms: the same of the baseline.
    """

    candidate_ms: float
    baseline_ms: float
    ratio: float
    ci: float
    ratio_low: float
    ratio_high: float
    rounds: int
    rejected: int
    idle: float
    candidate_host_ms: float | None = None
    baseline_host_ms: float | None = None

    @property
    def is_disturbed(self) -> bool:
        """Whether too many rounds were left out for the rest to be believed."""
        return self.rejected > MAX_REJECTED * (self.rounds + self.rejected)

    @property
    def is_host_bound(self) -> bool:
        """Whether the host, not the GPU, decided the time of one of the two networks."""
        pairs = (
            (self.candidate_host_ms, self.candidate_ms),
            (self.baseline_host_ms, self.baseline_ms),
        )
        return any(host is not None and host >= HOST_BOUND * spent for host, spent in pairs)


def summarise(
    rounds: Sequence[Round], weights: Sequence[float], rng: np.random.Generator
) -> Reading:
    """Return the median ratio of the calm rounds, its interval, and their mean runtimes.

    Args:
        weights: of the sizes; they sum to 1.
        rng: of the bootstrap.
    """
    # Times and ratio come from the same rounds, so that they fit each other.
    kept = calm(rounds, weights)
    values = ratios(kept, weights)
    low, high = np.percentile(values, [10, 90])
    hosts = [entry.host for entry in kept if entry.host is not None]

    # Medians over rounds for each size, then the mean over sizes as the challenge takes it.
    def average_ms(rows: Sequence[Sequence[float]]) -> float:
        return 1e3 * _sum_medians(rows, weights)

    return Reading(
        candidate_ms=average_ms([_average_blocks(*entry.candidate) for entry in kept]),
        baseline_ms=average_ms([_average_blocks(*entry.baseline) for entry in kept]),
        ratio=statistics.median(values),
        ci=half_width(values, rng),
        ratio_low=float(low),
        ratio_high=float(high),
        rounds=len(kept),
        rejected=len(rounds) - len(kept),
        idle=statistics.median(entry.idle for entry in rounds),
        baseline_host_ms=average_ms([host[0] for host in hosts]) if hosts else None,
        candidate_host_ms=average_ms([host[1] for host in hosts]) if hosts else None,
    )


def calm(rounds: Sequence[Round], weights: Sequence[float]) -> list[Round]:
    """Return the rounds that nothing disturbed, and at least the less disturbed half of all."""
    worst = disturbances(rounds, weights)
    # The least disturbed first; half of all rounds are kept in any case.
    order = sorted(range(len(rounds)), key=worst.__getitem__)
    num_calm = sum(value <= 1 for value in worst)
    return [rounds[place] for place in order[: max(num_calm, math.ceil(len(rounds) / 2))]]


def disturbances(rounds: Sequence[Round], weights: Sequence[float]) -> list[float]:
    """Return how disturbed each round is: its worst measure, 1 being the most that is accepted."""
    worst = [entry.idle / MAX_IDLE for entry in rounds]
    for blocks in ([entry.baseline for entry in rounds], [entry.candidate for entry in rounds]):
        # Each network is compared with itself: within the round, and with its typical round.
        pairs = [
            (weighted_sum(first, weights), weighted_sum(second, weights))
            for first, second in blocks
        ]
        typical = statistics.median(first + second for first, second in pairs)
        for place, (first, second) in enumerate(pairs):
            gap = 2 * abs(first - second) / (first + second)
            slowdown = (first + second) / typical - 1
            worst[place] = max(worst[place], gap / MAX_GAP, slowdown / MAX_SLOWDOWN)

    return worst


def ratios(rounds: Sequence[Round], weights: Sequence[float]) -> list[float]:
    """Return candidate over baseline of each round, of their mean runtimes over the sizes."""
    return [
        weighted_sum(_average_blocks(*entry.candidate), weights)
        / weighted_sum(_average_blocks(*entry.baseline), weights)
        for entry in rounds
    ]


def half_width(values: Sequence[float], rng: np.random.Generator) -> float:
    """Return half the width of the bootstrap 95 % interval of the median."""
    # The bootstrap supposes nothing about the noise, which is skewed to the slow side.
    samples = rng.choice(np.asarray(values), size=(NUM_RESAMPLES, len(values)))
    low, high = np.percentile(np.median(samples, axis=1), [2.5, 97.5])
    return float(high - low) / 2


def weighted_sum(values: Sequence[float], weights: Sequence[float]) -> float:
    return math.fsum(value * weight for value, weight in zip(values, weights, strict=True))


def _average_blocks(before: Sequence[float], after: Sequence[float]) -> tuple[float, ...]:
    """Return the mean of a network's two blocks at each size."""
    return tuple((a + b) / 2 for a, b in zip(before, after, strict=True))


def _sum_medians(rows: Sequence[Sequence[float]], weights: Sequence[float]) -> float:
    """Return the weighted sum over sizes of the medians over rounds (the rows)."""
    return weighted_sum([statistics.median(column) for column in zip(*rows, strict=True)], weights)
