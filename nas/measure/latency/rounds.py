"""What rounds of a paired reading say: which were disturbed, the ratio of the others, and its interval."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# A round is disturbed when one of these is exceeded:
MAX_GAP = 0.03  # between the two blocks of a network
MAX_IDLE = 0.05  # share of the time in which a block did not run
MAX_SLOWDOWN = (
    0.10  # of a network over its median: another clock, or a neighbour that shares the memory
)
MAX_REJECTED = 0.2  # share of the rounds: above it the reading is disturbed as a whole
HOST_BOUND = (
    0.8  # share of a GPU forward's time in which the host issues it: from there the host decides it
)
NUM_RESAMPLES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Some forwards in a row: seconds each, and the share of that time in which they did not run.

    host is the seconds in which the host issued each to a GPU; None: nothing is issued, the CPU computes.
    """

    seconds: float
    idle: float = 0.0
    host: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Baseline, candidate, candidate, baseline: seconds a forward at each size, twice for both.

    As many blocks of one as of the other, and judged alike: noise is skewed to the slow side, so a median of
    single runtimes against means of two, or rounds chosen by the baseline alone, would favour one of them.
    """

    baseline: tuple[tuple[float, ...], tuple[float, ...]]
    candidate: tuple[tuple[float, ...], tuple[float, ...]]
    idle: float  # of the worst block
    host: tuple[tuple[float, ...], tuple[float, ...]] | None = (
        None  # of baseline and candidate, at each size
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the kept rounds say; ci is the half-width of the 95 % interval of the median ratio.

    ratio_low and ratio_high are the 10th and 90th percentile of the rounds' ratios; idle is the share of
    the time in which a typical round's worst block did not run, of all rounds. candidate_host_ms and
    baseline_host_ms are the time in which the host issued a forward to a GPU; None on a CPU.
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
    """Give median ratio, its interval and the mean runtimes of the calm rounds."""
    kept = calm(rounds, weights)
    found = ratios(kept, weights)
    low, high = np.percentile(found, [10, 90])
    hosts = [entry.host for entry in kept if entry.host is not None]
    return Reading(
        candidate_ms=1e3 * _of_medians([_mean(*entry.candidate) for entry in kept], weights),
        baseline_ms=1e3 * _of_medians([_mean(*entry.baseline) for entry in kept], weights),
        ratio=statistics.median(found),
        ci=half_width(found, rng),
        ratio_low=float(low),
        ratio_high=float(high),
        rounds=len(kept),
        rejected=len(rounds) - len(kept),
        idle=statistics.median(entry.idle for entry in rounds),
        baseline_host_ms=1e3 * _of_medians([host[0] for host in hosts], weights) if hosts else None,
        candidate_host_ms=1e3 * _of_medians([host[1] for host in hosts], weights)
        if hosts
        else None,
    )


def calm(rounds: Sequence[Round], weights: Sequence[float]) -> list[Round]:
    """The rounds that nothing disturbed; where these are fewer than half, the less disturbed half."""
    found = disturbances(rounds, weights)
    order = sorted(range(len(rounds)), key=found.__getitem__)
    num_calm = sum(value <= 1 for value in found)
    return [rounds[place] for place in order[: max(num_calm, math.ceil(len(rounds) / 2))]]


def disturbances(rounds: Sequence[Round], weights: Sequence[float]) -> list[float]:
    """How far each round is from a quiet one, 1 being the most that is accepted."""
    worst = [entry.idle / MAX_IDLE for entry in rounds]
    for blocks in ([entry.baseline for entry in rounds], [entry.candidate for entry in rounds]):
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
    """Candidate over baseline of each round, of their mean runtimes over the sizes."""
    return [
        weighted_sum(_mean(*entry.candidate), weights)
        / weighted_sum(_mean(*entry.baseline), weights)
        for entry in rounds
    ]


def half_width(values: Sequence[float], rng: np.random.Generator) -> float:
    """Half the width of the bootstrap 95 % interval of the median."""
    samples = rng.choice(np.asarray(values), size=(NUM_RESAMPLES, len(values)))
    low, high = np.percentile(np.median(samples, axis=1), [2.5, 97.5])
    return float(high - low) / 2


def weighted_sum(values: Sequence[float], weights: Sequence[float]) -> float:
    return math.fsum(value * weight for value, weight in zip(values, weights, strict=True))


def _mean(before: Sequence[float], after: Sequence[float]) -> tuple[float, ...]:
    return tuple((a + b) / 2 for a, b in zip(before, after, strict=True))


def _of_medians(rows: Sequence[Sequence[float]], weights: Sequence[float]) -> float:
    return weighted_sum([statistics.median(column) for column in zip(*rows, strict=True)], weights)
