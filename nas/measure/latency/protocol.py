"""Paired readings: a baseline and some candidates run in turn until every ratio is known.

Pure logic over a timer that is handed in: the caller says what runs, and on which clock.
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

T = TypeVar("T")  # what a turn gives
BASELINE = 0  # the subject that the others are compared with; candidates are 1, 2, ...
MIN_BLOCK_SECONDS = 5e-3
MIN_WARM_PASSES, MAX_WARM_PASSES = 5, 1000
MIN_ROUNDS_EVER = 3  # also when time is up
CHECK_EVERY = 5  # rounds between two looks at the interval
MAX_REPEATS = 4096


class Timer(Protocol):
    """Runs a subject `repeats` times at the size of that place in the list of sizes."""

    def __call__(self, subject: int, place: int, repeats: int) -> Block: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a reading may take; a round is baseline, candidate twice, baseline at every size.

    Attributes:
        warmup_seconds: how long all subjects run before the first round.
        min_rounds: undisturbed rounds of a candidate before its interval is looked at.
        max_rounds: of each candidate.
        max_seconds: timed seconds of each candidate, after which its reading ends as it is.
        target_ci: half-width of a ratio's interval, relative to it, at which the reading is good
            enough and ends.

    Example:
        >>> def timer(subject: int, place: int, repeats: int) -> Block:
        ...     return Block(seconds=0.010 if subject == BASELINE else 0.005)
        >>> limits = Limits(
        ...     warmup_seconds=0.0, min_rounds=3, max_rounds=9, max_seconds=60.0, target_ci=0.01
        ... )
        >>> (reading,) = read(timer, 1, [1.0], limits, np.random.default_rng(0))
        >>> reading.ratio, reading.rounds
        (0.5, 5)
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

    So a slow change of the machine falls on all alike, and a round's own baseline takes out what is
    left. A candidate whose ratio is known, or whose time is up, leaves the rounds. One that fails
    (its memory runs out) leaves them too, alone.

    Args:
        weights: of the sizes; they sum to 1.
        rng: of the order and the bootstrap.
        pause: called between passes of the warm-up and before every candidate's turn; it returns
            whether the device was with others meanwhile.
    Returns:
        A reading for each candidate, or why it failed.
    Raises:
        RuntimeError: the baseline failed.
    """
    # Repeats are chosen when everything is warm: a first forward takes a multiple of the others.
    turns = _Turns(timer, num_candidates, len(weights))
    _warm_up(turns, limits, pause)
    repeats = turns.choose_repeats()

    # Every candidate has one round in each pass, until it is done or fails.
    series = [_Series(subject=subject) for subject in turns.subjects[1:]]
    active = list(series)
    while active:
        for place in rng.permutation(len(active)):
            _add_round(active[place], turns, repeats, pause)
        active = [
            entry
            for entry in active
            if entry.subject in turns.subjects and not entry.is_done(weights, limits, rng)
        ]

    # A candidate that failed late had rounds too, but no reading is made of them.
    rounds = {entry.subject: entry.rounds for entry in series if entry.subject in turns.subjects}
    return [
        summarise(rounds[subject], weights, rng) if subject in rounds else turns.failures[subject]
        for subject in range(1, num_candidates + 1)
    ]


class _Turns:
    """The subjects that are still timed; a candidate that fails has had its last turn.

    Attributes:
        subjects: still timed, the baseline first.
        failures: why the others are not, by subject.
    """

    def __init__(self, timer: Timer, num_candidates: int, num_sizes: int) -> None:
        self.timer = timer
        self.num_sizes = num_sizes
        self.subjects = list(range(num_candidates + 1))
        self.failures: dict[int, RuntimeError] = {}

    def take(self, subject: int, turn: Callable[[int], T]) -> T | None:
        """Give a subject its turn; return None where it failed now or before.

        Raises:
            RuntimeError: the baseline failed, without which there is no ratio.
        """
        if subject in self.failures:
            return None
        try:
            return turn(subject)
        except RuntimeError as error:
            if subject == BASELINE:
                raise
            self.failures[subject] = error.with_traceback(None)  # its frames hold the network
            self.subjects.remove(subject)
            return None

    def run_once(self, subject: int) -> float:
        """Run one forward at every size; return the seconds."""
        return sum(self.timer(subject, place, 1).seconds for place in range(self.num_sizes))

    def choose_repeats(self) -> dict[int, list[int]]:
        """Return how many forwards make a block, by subject, at each size."""

        def choose(subject: int) -> list[int]:
            return [_choose_repeats(self.timer, subject, place) for place in range(self.num_sizes)]

        # A subject that fails leaves the list, so the loop goes over a copy.
        repeats = {}
        for subject in list(self.subjects):
            counts = self.take(subject, choose)
            if counts is not None:
                repeats[subject] = counts

        return repeats


@dataclass(slots=True, kw_only=True)
class _Series:
    """A candidate's rounds so far, and the seconds that they took."""

    subject: int
    rounds: list[Round] = field(default_factory=list)
    spent: float = 0.0

    def is_done(self, weights: Sequence[float], limits: Limits, rng: np.random.Generator) -> bool:
        """Return whether the ratio is known well enough, or its rounds or its time are up."""
        # Whatever the interval, a reading ends: but it has the three rounds that an interval needs.
        num_rounds = len(self.rounds)
        if num_rounds >= limits.max_rounds:
            return True
        if num_rounds >= MIN_ROUNDS_EVER and self.spent >= limits.max_seconds:
            return True

        # The bootstrap takes longer than a round of a small network.
        if num_rounds % CHECK_EVERY:
            return False
        kept = calm(self.rounds, weights)
        if len(kept) < limits.min_rounds:
            return False
        values = ratios(kept, weights)
        return half_width(values, rng) <= limits.target_ci * statistics.median(values)


def _add_round(
    series: _Series,
    turns: _Turns,
    repeats: Mapping[int, Sequence[int]],
    pause: Callable[[], bool],
) -> None:
    """Time one more round of a candidate, unless it fails."""
    subject = series.subject
    # Others have used the device: their work is in its caches, and its clock may have fallen.
    if pause():
        turns.take(BASELINE, turns.run_once)
        turns.take(subject, turns.run_once)
    entry = turns.take(subject, lambda subject: _time_round(turns.timer, subject, repeats))
    if entry is not None:
        series.rounds.append(entry)
        series.spent += _sum_seconds(entry, repeats[BASELINE], repeats[subject])


def _warm_up(turns: _Turns, limits: Limits, pause: Callable[[], bool]) -> None:
    """Run every subject at least five times, and all of them for as long as the limits say.

    A quarter of the candidates' own time ends it too: some networks take seconds a forward.
    """
    spent = 0.0
    for passes in range(MAX_WARM_PASSES):
        # One pass is made in any case, so that no first forward falls into a round.
        if passes and spent >= (len(turns.subjects) - 1) * limits.max_seconds / 4:
            return
        if passes >= MIN_WARM_PASSES and spent >= limits.warmup_seconds:
            return
        pause()
        spent += sum(turns.take(subject, turns.run_once) or 0.0 for subject in list(turns.subjects))


def _choose_repeats(timer: Timer, subject: int, place: int) -> int:
    """Return how many forwards make a block of at least `MIN_BLOCK_SECONDS`."""
    repeats = 1
    while repeats < MAX_REPEATS:
        # The estimate is taken again at each try: a short block tells seconds that are too long.
        seconds = timer(subject, place, repeats).seconds
        if repeats * seconds >= MIN_BLOCK_SECONDS:
            break
        needed = math.ceil(MIN_BLOCK_SECONDS / seconds) if seconds > 0 else MAX_REPEATS
        repeats = min(max(needed, repeats + 1), MAX_REPEATS)
    return repeats


def _time_round(timer: Timer, candidate: int, repeats: Mapping[int, Sequence[int]]) -> Round:
    """Time baseline, candidate, candidate, baseline at every size.

    The order is a mirror image, so a device that slows down evenly slows both by as much.
    """
    order = (BASELINE, candidate, candidate, BASELINE)
    blocks = [
        [timer(subject, place, repeats[subject][place]) for subject in order]
        for place in range(len(repeats[BASELINE]))
    ]

    # From a list a size to a tuple of sizes for each of the four turns.
    first, second, third, fourth = (
        tuple(block.seconds for block in column) for column in zip(*blocks, strict=True)
    )
    return Round(
        baseline=(first, fourth),
        candidate=(second, third),
        idle=max(block.idle for size in blocks for block in size),
        host=_average_host(blocks),
    )


def _average_host(
    blocks: Sequence[Sequence[Block]],
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return the seconds in which the host issued a forward, of baseline and candidate.

    Returns:
        Two tuples, a value a size; None: nothing is issued, the CPU computes.
    """
    seconds = [[block.host for block in size if block.host is not None] for size in blocks]
    if any(len(size) < 4 for size in seconds):
        return None
    baseline = tuple((first + fourth) / 2 for first, _, _, fourth in seconds)
    candidate = tuple((second + third) / 2 for _, second, third, _ in seconds)
    return baseline, candidate


def _sum_seconds(entry: Round, baseline: Sequence[int], candidate: Sequence[int]) -> float:
    """Return the seconds that a round took, from the repeats of both at each size."""
    return sum(weighted_sum(block, baseline) for block in entry.baseline) + sum(
        weighted_sum(block, candidate) for block in entry.candidate
    )
