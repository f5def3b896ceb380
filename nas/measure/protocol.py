"""A paired reading: baseline and candidate in turn, disturbed rounds set aside, an interval for the ratio.

Pure logic over a timer that is handed in: what runs, and on which clock, is the caller's.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

MIN_BLOCK_SECONDS = 5e-3
# A round is disturbed when one of these is exceeded:
MAX_GAP = 0.03  # between the two blocks of a network
MAX_IDLE = 0.05  # share of the time in which a block did not run
MAX_SLOWDOWN = 0.10  # of a network over its median: another clock, or a neighbour that shares the memory
MIN_WARM_PASSES, MAX_WARM_PASSES = 5, 1000
MIN_ROUNDS_EVER = 3  # also when time is up
CHECK_EVERY = 5  # rounds between two looks at the interval
NUM_RESAMPLES = 1000
MAX_REPEATS = 4096

Subject = Literal["baseline", "candidate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Some forwards in a row: seconds each, and the share of that time in which they did not run."""

    seconds: float
    idle: float = 0.0


class Timer(Protocol):
    """Runs a subject `repeats` times at the size of that place in the list."""

    def __call__(self, subject: Subject, place: int, repeats: int) -> Block: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a reading may take; a round is baseline, candidate twice, baseline at every size.

    target_ci is the half-width of the interval, relative to the ratio, at which a reading is good enough;
    max_seconds ends one that is not.
    """

    warmup_seconds: float
    min_rounds: int
    max_rounds: int
    max_seconds: float
    target_ci: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Baseline, candidate, candidate, baseline: seconds a forward at each size, twice for both.

    As many blocks of one as of the other, and judged alike: noise is skewed to the slow side, so a median of
    single runtimes against means of two, or rounds chosen by the baseline alone, would favour one of them.
    """

    baseline: tuple[tuple[float, ...], tuple[float, ...]]
    candidate: tuple[tuple[float, ...], tuple[float, ...]]
    idle: float  # of the worst block


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the kept rounds say; ci is the half-width of the 95 % interval of the median ratio."""

    candidate_ms: float
    baseline_ms: float
    ratio: float
    ci: float
    rounds: int
    rejected: int


def read(timer: Timer, weights: Sequence[float], limits: Limits, rng: np.random.Generator) -> Reading:
    """Time two networks against each other until the ratio is known well enough, or time is up.

    Args:
        weights: of the sizes; they sum to 1.
        rng: of the bootstrap.
    """
    _warm_up(timer, len(weights), limits)
    subjects: tuple[Subject, ...] = ("baseline", "candidate")
    repeats = {
        subject: [_num_repeats(timer, subject, place) for place in range(len(weights))]
        for subject in subjects
    }
    rounds: list[Round] = []
    spent = 0.0
    while len(rounds) < limits.max_rounds:
        rounds.append(_round(timer, repeats))
        spent += _lasted(rounds[-1], repeats)
        if len(rounds) >= MIN_ROUNDS_EVER and spent >= limits.max_seconds:
            break
        if len(rounds) % CHECK_EVERY == 0 and len(kept := calm(rounds, weights)) >= limits.min_rounds:
            found = ratios(kept, weights)
            if half_width(found, rng) <= limits.target_ci * statistics.median(found):
                break
    return summarise(rounds, weights, rng)


def summarise(rounds: Sequence[Round], weights: Sequence[float], rng: np.random.Generator) -> Reading:
    """Give median ratio, its interval and the mean runtimes of the calm rounds."""
    kept = calm(rounds, weights)
    found = ratios(kept, weights)
    return Reading(
        candidate_ms=1e3 * _of_medians([_mean(*entry.candidate) for entry in kept], weights),
        baseline_ms=1e3 * _of_medians([_mean(*entry.baseline) for entry in kept], weights),
        ratio=statistics.median(found),
        ci=half_width(found, rng),
        rounds=len(kept),
        rejected=len(rounds) - len(kept),
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
        pairs = [(_weighted(first, weights), _weighted(second, weights)) for first, second in blocks]
        typical = statistics.median(first + second for first, second in pairs)
        for place, (first, second) in enumerate(pairs):
            gap = 2 * abs(first - second) / (first + second)
            slowdown = (first + second) / typical - 1
            worst[place] = max(worst[place], gap / MAX_GAP, slowdown / MAX_SLOWDOWN)
    return worst


def ratios(rounds: Sequence[Round], weights: Sequence[float]) -> list[float]:
    """Candidate over baseline of each round, of their mean runtimes over the sizes."""
    return [
        _weighted(_mean(*entry.candidate), weights) / _weighted(_mean(*entry.baseline), weights)
        for entry in rounds
    ]


def half_width(values: Sequence[float], rng: np.random.Generator) -> float:
    """Half the width of the bootstrap 95 % interval of the median."""
    samples = rng.choice(np.asarray(values), size=(NUM_RESAMPLES, len(values)))
    low, high = np.percentile(np.median(samples, axis=1), [2.5, 97.5])
    return float(high - low) / 2


def _warm_up(timer: Timer, num_sizes: int, limits: Limits) -> None:
    spent = 0.0
    for passes in range(MAX_WARM_PASSES):
        if passes and spent >= limits.max_seconds / 4:
            return
        if passes >= MIN_WARM_PASSES and spent >= limits.warmup_seconds:
            return
        for place in range(num_sizes):
            spent += timer("baseline", place, 1).seconds + timer("candidate", place, 1).seconds


def _num_repeats(timer: Timer, subject: Subject, place: int) -> int:
    """How many forwards make a block that is long enough."""
    repeats = 1
    while repeats < MAX_REPEATS:
        seconds = timer(subject, place, repeats).seconds
        if repeats * seconds >= MIN_BLOCK_SECONDS:
            break
        needed = math.ceil(MIN_BLOCK_SECONDS / seconds) if seconds > 0 else MAX_REPEATS
        repeats = min(max(needed, repeats + 1), MAX_REPEATS)
    return repeats


def _round(timer: Timer, repeats: Mapping[Subject, Sequence[int]]) -> Round:
    order: tuple[Subject, ...] = ("baseline", "candidate", "candidate", "baseline")
    blocks = [
        [timer(subject, place, repeats[subject][place]) for subject in order]
        for place in range(len(repeats["baseline"]))
    ]
    first, second, third, fourth = (
        tuple(block.seconds for block in column) for column in zip(*blocks, strict=True)
    )
    return Round(
        baseline=(first, fourth),
        candidate=(second, third),
        idle=max(block.idle for size in blocks for block in size),
    )


def _lasted(entry: Round, repeats: Mapping[Subject, Sequence[int]]) -> float:
    return sum(_weighted(block, repeats["baseline"]) for block in entry.baseline) + sum(
        _weighted(block, repeats["candidate"]) for block in entry.candidate
    )


def _weighted(values: Sequence[float], weights: Sequence[float]) -> float:
    return math.fsum(value * weight for value, weight in zip(values, weights, strict=True))


def _mean(before: Sequence[float], after: Sequence[float]) -> tuple[float, ...]:
    return tuple((a + b) / 2 for a, b in zip(before, after, strict=True))


def _of_medians(rows: Sequence[Sequence[float]], weights: Sequence[float]) -> float:
    return _weighted([statistics.median(column) for column in zip(*rows, strict=True)], weights)
