"""Learning rates along a stage, as factors of the peak rates."""

import bisect
import itertools
import math
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """Gives the factor of the peak learning rates at each step of a stage."""

    def factor(self, step: int, steps: int) -> float:
        """Return the factor, 0 to 1.

        Args:
            step: steps that are done, 0 to steps - 1.
            steps: of the whole stage; what is given in shares follows it.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """The peak rates from the first step to the last."""

    def factor(self, step: int, steps: int) -> float:
        return 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """A rise to the peak, then a straight fall to zero.

    Attributes:
        warmup: share of the stage in which the rates rise, 0 to 1.
    """

    warmup: float

    def __post_init__(self) -> None:
        _check_share("warmup", self.warmup)

    def factor(self, step: int, steps: int) -> float:
        num_rising = max(1, round(self.warmup * steps))
        return min((step + 1) / num_rising, (steps - step) / max(1, steps - num_rising))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosine:
    """A rise to the peak, then half a cosine down to a floor; restarts where there are periods.

    Attributes:
        warmup: share of the stage in which the rates rise, 0 to 1.
        floor: at the end, in shares of the peak.
        periods: lengths of the falls, in shares of the stage, adding up to 1; [1] is one fall.
        peaks: where each fall begins, in shares of the peak.

    Source: Loshchilov and Hutter, SGDR, ICLR 2017.

    Example: two falls, the second from half the peak, as in SPANV2's second stage.
        >>> schedule = Cosine(warmup=0.0, floor=0.0, periods=[0.6, 0.4], peaks=[1.0, 0.5])
        >>> [round(schedule.factor(step, 1000), 3) for step in (0, 300, 600, 800)]
        [1.0, 0.5, 0.5, 0.25]
    """

    warmup: float
    floor: float
    periods: list[float]
    peaks: list[float]

    def __post_init__(self) -> None:
        _check_share("warmup", self.warmup)
        _check_share("floor", self.floor)
        if len(self.periods) != len(self.peaks) or not self.periods:
            raise ValueError(
                f"periods and peaks must be as many, got {len(self.periods)} and {len(self.peaks)}"
            )
        for peak in self.peaks:
            _check_share("peaks", peak)
        if not all(period > 0 for period in self.periods) or not math.isclose(
            sum(self.periods), 1.0, abs_tol=1e-6
        ):
            raise ValueError(f"periods must be above 0 and add up to 1, got {self.periods}")

    def factor(self, step: int, steps: int) -> float:
        rising = _rise(self.warmup, step, steps)

        # The period that holds the step, and how far in it the step is.
        ends = list(itertools.accumulate(self.periods))
        place = min(bisect.bisect_right(ends, step / steps), len(ends) - 1)
        start = ends[place] - self.periods[place]
        within = min((step / steps - start) / self.periods[place], 1.0)
        height = self.peaks[place] - self.floor
        falling = self.floor + 0.5 * height * (1 + math.cos(math.pi * within))
        return min(rising, falling)


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiStep:
    """A rise to the peak, then a factor at each milestone.

    Attributes:
        warmup: share of the stage in which the rates rise, 0 to 1.
        milestones: shares of the stage, rising.
        decay: factor at each of them.

    Example:
        >>> schedule = MultiStep(warmup=0.0, milestones=[0.5, 0.75], decay=0.5)
        >>> [schedule.factor(step, 100) for step in (0, 49, 50, 75)]
        [1.0, 1.0, 0.5, 0.25]
    """

    warmup: float
    milestones: list[float]
    decay: float

    def __post_init__(self) -> None:
        _check_share("warmup", self.warmup)
        for milestone in self.milestones:
            _check_share("milestones", milestone)
        if sorted(self.milestones) != self.milestones or not self.milestones:
            raise ValueError(f"milestones must be one or more rising shares, got {self.milestones}")
        _check_share("decay", self.decay)

    def factor(self, step: int, steps: int) -> float:
        rising = _rise(self.warmup, step, steps)
        passed = sum(step >= milestone * steps for milestone in self.milestones)
        return min(rising, float(self.decay**passed))


def _rise(warmup: float, step: int, steps: int) -> float:
    """Return the factor of a warm-up: it grows by equal parts to 1 at its end, and stays there."""
    return min(1.0, (step + 1) / max(1, round(warmup * steps)))


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be from 0 to 1, a share, got {value:g}")
