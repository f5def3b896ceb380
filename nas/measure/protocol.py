"""A paired reading: baseline and candidate timed in turn, disturbed rounds set aside, an interval for the ratio.

Pure logic over a timer that is handed in: what runs, and on which clock, is the caller's.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

MIN_BLOCK_SECONDS = 5e-3
# A round is disturbed when one of these is exceeded:
MAX_GAP = 0.03  # between the baselines before and after the candidate
MAX_IDLE = 0.05  # share of the time in which a block did not run
MAX_SLOWDOWN = 0.10  # of the baseline over its median: another clock, or a neighbour that shares the memory
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
    """How long a reading may take; a round is baseline, candidate, baseline at every size.

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
    """Seconds a forward at each size, the baseline's before and after the candidate's; idle is the worst."""

    before: tuple[float, ...]
    candidate: tuple[float, ...]
    after: tuple[float, ...]
    idle: float


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
    repeats = {
        subject: [_num_repeats(timer, subject, place) for place in range(len(weights))]
        for subject in ("baseline", "candidate")
    }
    rounds: list[Round] = []
    spent = 0.0
    while len(rounds) < limits.max_rounds:
        rounds.append(_round(timer, repeats["baseline"], repeats["candidate"]))
        spent += _lasted(rounds[-1], repeats["baseline"], repeats["candidate"])
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
        candidate_ms=1e3 * _of_medians([entry.candidate for entry in kept], weights),
        baseline_ms=1e3 * _of_medians([_mean(entry.before, entry.after) for entry in kept], weights),
        ratio=statistics.median(found),
        ci=half_width(found, rng),
        rounds=len(kept),
        rejected=len(rounds) - len(kept),
    )


def calm(rounds: Sequence[Round], weights: Sequence[float]) -> list[Round]:
    """The rounds that nothing disturbed; where these are fewer than half, the less disturbed half."""
    typical = statistics.median(_weighted(_mean(entry.before, entry.after), weights) for entry in rounds)
    ranked = sorted(rounds, key=lambda entry: disturbance(entry, weights, typical))
    num_calm = sum(disturbance(entry, weights, typical) <= 1 for entry in rounds)
    return ranked[: max(num_calm, math.ceil(len(rounds) / 2))]


def disturbance(entry: Round, weights: Sequence[float], typical: float) -> float:
    """How far a round is from a quiet one, 1 being the most that is accepted.

    `typical` is the median of the baseline's runtimes.
    """
    before, after = _weighted(entry.before, weights), _weighted(entry.after, weights)
    mean = (before + after) / 2
    return max(
        abs(before - after) / mean / MAX_GAP,
        entry.idle / MAX_IDLE,
        (mean / typical - 1) / MAX_SLOWDOWN,
    )


def ratios(rounds: Sequence[Round], weights: Sequence[float]) -> list[float]:
    """Candidate over baseline of each round, of their mean runtimes over the sizes."""
    return [
        _weighted(entry.candidate, weights) / _weighted(_mean(entry.before, entry.after), weights)
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


def _round(timer: Timer, baseline_repeats: Sequence[int], candidate_repeats: Sequence[int]) -> Round:
    blocks = [
        (timer("baseline", place, ours), timer("candidate", place, theirs), timer("baseline", place, ours))
        for place, (ours, theirs) in enumerate(zip(baseline_repeats, candidate_repeats, strict=True))
    ]
    before, candidate, after = zip(*blocks, strict=True)
    return Round(
        before=tuple(block.seconds for block in before),
        candidate=tuple(block.seconds for block in candidate),
        after=tuple(block.seconds for block in after),
        idle=max(block.idle for size in blocks for block in size),
    )


def _lasted(entry: Round, baseline_repeats: Sequence[int], candidate_repeats: Sequence[int]) -> float:
    both = _weighted(entry.before, baseline_repeats) + _weighted(entry.after, baseline_repeats)
    return both + _weighted(entry.candidate, candidate_repeats)


def _weighted(values: Sequence[float], weights: Sequence[float]) -> float:
    return math.fsum(value * weight for value, weight in zip(values, weights, strict=True))


def _mean(before: Sequence[float], after: Sequence[float]) -> tuple[float, ...]:
    return tuple((a + b) / 2 for a, b in zip(before, after, strict=True))


def _of_medians(rows: Sequence[Sequence[float]], weights: Sequence[float]) -> float:
    return _weighted([statistics.median(column) for column in zip(*rows, strict=True)], weights)
