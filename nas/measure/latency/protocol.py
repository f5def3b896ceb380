"""Paired readings: a baseline and some candidates in turn, until every ratio is known well enough.

Pure logic over a timer that is handed in: what runs, and on which clock, is the caller's.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np

from nas.measure.latency.rounds import (
    Block,
    Reading,
    Round,
    calm,
    half_width,
    ratios,
    summarise,
    weighted_sum,
)

T = TypeVar("T")
BASELINE = 0  # the subject that the others are compared with; candidates are 1, 2, ...
MIN_BLOCK_SECONDS = 5e-3
MIN_WARM_PASSES, MAX_WARM_PASSES = 5, 1000
MIN_ROUNDS_EVER = 3  # also when time is up
CHECK_EVERY = 5  # rounds between two looks at the interval
MAX_REPEATS = 4096


class Timer(Protocol):
    """Runs a subject `repeats` times at the size of that place in the list."""

    def __call__(self, subject: int, place: int, repeats: int) -> Block: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a reading may take; a round is baseline, candidate twice, baseline at every size.

    target_ci is the half-width of the interval, relative to the ratio, at which a reading is good enough;
    max_seconds ends one that is not. Both hold for each candidate.
    """

    warmup_seconds: float
    min_rounds: int
    max_rounds: int
    max_seconds: float
    target_ci: float


def read(
    timer: Timer,
    num_candidates: int,
    weights: Sequence[float],
    limits: Limits,
    rng: np.random.Generator,
    pause: Callable[[], bool] = lambda: False,
) -> list[Reading | RuntimeError]:
    """Time candidates against the baseline, all of them in each round, in shuffled order.

    A candidate whose ratio is known, or whose time is up, leaves the rounds. A slow change of the machine
    thus falls on all alike, and a round's own baseline takes out what is left. A candidate that fails (its
    memory runs out) leaves them too, alone.

    Args:
        weights: of the sizes; they sum to 1.
        rng: of the order and the bootstrap.
        pause: called between passes of the warm-up and before every candidate's turn; says whether the
            device was with others meanwhile.
    Returns:
        A reading for each candidate, or why it failed.
    Raises:
        RuntimeError: the baseline failed.
    """
    turns = _Turns(timer, num_candidates, len(weights))
    _warm_up(turns, limits, pause)
    tried = {subject: turns.take(subject, turns.num_repeats) for subject in list(turns.subjects)}
    repeats = {subject: found for subject, found in tried.items() if found is not None}
    series = [_Series(subject=subject) for subject in turns.subjects[1:]]
    left = list(series)
    while left:
        for place in rng.permutation(len(left)):
            one = left[place]
            if pause():
                turns.take(BASELINE, turns.once)
                turns.take(one.subject, turns.once)
            entry = turns.take(one.subject, lambda subject: _round(timer, subject, repeats))
            if entry is not None:
                one.rounds.append(entry)
                one.spent += _lasted(entry, repeats[BASELINE], repeats[one.subject])
        left = [
            one
            for one in left
            if one.subject in turns.subjects and not one.is_done(weights, limits, rng)
        ]
    done = {one.subject: one.rounds for one in series if one.subject in turns.subjects}
    return [
        summarise(done[subject], weights, rng) if subject in done else turns.failed[subject]
        for subject in range(1, num_candidates + 1)
    ]


class _Turns:
    """Who is still timed, and why others are not: a candidate that fails has had its last turn."""

    def __init__(self, timer: Timer, num_candidates: int, num_sizes: int) -> None:
        self.timer = timer
        self.num_sizes = num_sizes
        self.subjects = list(range(num_candidates + 1))
        self.failed: dict[int, RuntimeError] = {}

    def take(self, subject: int, turn: Callable[[int], T]) -> T | None:
        """A subject's turn; None where it failed now or before.

        Raises:
            RuntimeError: it is the baseline that failed, without which nothing can be said.
        """
        if subject in self.failed:
            return None
        try:
            return turn(subject)
        except RuntimeError as error:
            if subject == BASELINE:
                raise
            self.failed[subject] = error.with_traceback(None)  # its frames hold the network
            self.subjects.remove(subject)
            return None

    def once(self, subject: int) -> float:
        """Seconds of one forward at every size."""
        return sum(self.timer(subject, place, 1).seconds for place in range(self.num_sizes))

    def num_repeats(self, subject: int) -> list[int]:
        return [_num_repeats(self.timer, subject, place) for place in range(self.num_sizes)]


@dataclass(slots=True, kw_only=True)
class _Series:
    """A candidate's rounds so far, and the seconds that they took."""

    subject: int
    rounds: list[Round] = field(default_factory=list)
    spent: float = 0.0

    def is_done(self, weights: Sequence[float], limits: Limits, rng: np.random.Generator) -> bool:
        num_rounds = len(self.rounds)
        if num_rounds >= limits.max_rounds:
            return True
        if num_rounds >= MIN_ROUNDS_EVER and self.spent >= limits.max_seconds:
            return True
        if num_rounds % CHECK_EVERY or len(kept := calm(self.rounds, weights)) < limits.min_rounds:
            return False
        found = ratios(kept, weights)
        return half_width(found, rng) <= limits.target_ci * statistics.median(found)


def _warm_up(turns: _Turns, limits: Limits, pause: Callable[[], bool]) -> None:
    """Run everything at least five times, and as long as is wanted."""
    spent = 0.0
    for passes in range(MAX_WARM_PASSES):
        if passes and spent >= (len(turns.subjects) - 1) * limits.max_seconds / 4:
            return
        if passes >= MIN_WARM_PASSES and spent >= limits.warmup_seconds:
            return
        pause()
        spent += sum(turns.take(subject, turns.once) or 0.0 for subject in list(turns.subjects))


def _num_repeats(timer: Timer, subject: int, place: int) -> int:
    """How many forwards make a block that is long enough."""
    repeats = 1
    while repeats < MAX_REPEATS:
        seconds = timer(subject, place, repeats).seconds
        if repeats * seconds >= MIN_BLOCK_SECONDS:
            break
        needed = math.ceil(MIN_BLOCK_SECONDS / seconds) if seconds > 0 else MAX_REPEATS
        repeats = min(max(needed, repeats + 1), MAX_REPEATS)
    return repeats


def _round(timer: Timer, candidate: int, repeats: Mapping[int, Sequence[int]]) -> Round:
    order = (BASELINE, candidate, candidate, BASELINE)
    blocks = [
        [timer(subject, place, repeats[subject][place]) for subject in order]
        for place in range(len(repeats[BASELINE]))
    ]
    first, second, third, fourth = (
        tuple(block.seconds for block in column) for column in zip(*blocks, strict=True)
    )
    return Round(
        baseline=(first, fourth),
        candidate=(second, third),
        idle=max(block.idle for size in blocks for block in size),
        host=_host(blocks),
    )


def _host(blocks: Sequence[Sequence[Block]]) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Seconds in which the host issued a forward of the baseline, and of the candidate, at each size."""
    seconds = [[block.host for block in size if block.host is not None] for size in blocks]
    if any(len(size) < 4 for size in seconds):
        return None
    baseline = tuple((first + fourth) / 2 for first, _, _, fourth in seconds)
    candidate = tuple((second + third) / 2 for _, second, third, _ in seconds)
    return baseline, candidate


def _lasted(entry: Round, baseline: Sequence[int], candidate: Sequence[int]) -> float:
    """Seconds of a round, from the repeats of both."""
    return sum(weighted_sum(block, baseline) for block in entry.baseline) + sum(
        weighted_sum(block, candidate) for block in entry.candidate
    )
