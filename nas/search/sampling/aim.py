"""What a search is after, and how much of it a candidate is expected to bring."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from nas.search.sampling.gain import expected_excess, hypervolume_gain

Floats = npt.NDArray[np.float64]
Columns = Mapping[str, Floats]
GoalWord = Literal["front", "score", "psnr"]
QUALITIES = ("psnr_gain_db", "psnr_db")  # one and the same but for a constant
SCORE = "score"
QUADRATURE = ((0.0, 2 / 3), (-math.sqrt(3), 1 / 6), (math.sqrt(3), 1 / 6))  # Gauss and Hermite's, 3 nodes
SCORED = ("runtime_ratio", "flops", "params")  # what a score is made of


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Candidates, or networks that were seen: quality uncertain, costs with the spread of their logarithm.

    Attributes:
        mean, std: (N,), of the quality in dB.
        costs: by name, (N,) each, above 0.
        spread: standard deviation of a cost's logarithm, by name; exact costs have none.
    """

    mean: Floats
    std: Floats
    costs: Columns
    spread: Columns = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """What a search is after.

    Attributes:
        goal: front: hypervolume of the objectives; score: the best challenge score over the gate; psnr: the
            best PSNR within the limits.
        objectives: of the front; PSNR is maximised, all others are minimised.
        limits: upper limits of costs.
        gate_db: least gain over the reference, of goal=score.
        floor_db: of goal=front, the gain up to which a network is worth nothing: the base's, or the gate
            where it is believed, below which nothing is on the front. None: the least that was seen.
        score: runtime_ratio, flops and params, (N,) each, to a challenge score.
    """

    goal: GoalWord
    objectives: tuple[str, ...]
    limits: Mapping[str, float]
    gate_db: float
    floor_db: float | None
    score: Callable[[Floats, Floats, Floats], Floats] | None

    @property
    def costs(self) -> tuple[str, ...]:
        """The objectives that are costs; none where PSNR alone counts."""
        return costs_of(self.goal, self.objectives)

    @property
    def needed(self) -> tuple[str, ...]:
        """The costs that have to be known or predicted; a score comes from its parts."""
        named = dict.fromkeys([*self.costs, *self.limits])
        parts = SCORED if SCORE in named else ()
        return tuple(dict.fromkeys([*(name for name in named if name != SCORE), *parts]))

    def derive(self, costs: Columns) -> dict[str, Floats]:
        """Costs with the score that they make."""
        if SCORE not in (*self.costs, *self.limits):
            return dict(costs)
        assert self.score is not None
        return {**costs, SCORE: self.score(*(costs[name] for name in SCORED))}

    def within(self, forecast: Forecast) -> Floats:
        """The probability that every limit holds, (N,)."""
        result = np.ones(len(forecast.mean))
        for name, limit in self.limits.items():
            room = np.log(limit) - np.log(forecast.costs[name])
            spread = forecast.spread.get(name)
            result *= (room >= 0) if spread is None else ndtr(room / np.maximum(spread, 1e-9))
        return result

    def gain(self, candidates: Forecast, seen: Forecast, *, seed: int) -> Floats:
        """What each candidate is expected to bring, (N,); comparable within one call."""
        gains = np.zeros(len(candidates.mean))
        for offset, weight in QUADRATURE if candidates.spread else [(0.0, 1.0)]:
            moved = {name: np.exp(offset * spread) for name, spread in candidates.spread.items()}
            costs = {name: values * moved.get(name, 1.0) for name, values in candidates.costs.items()}
            gains += weight * self._gain(replace(candidates, costs=self.derive(costs)), seen, seed)
        return self.within(candidates) * gains

    def _gain(self, candidates: Forecast, seen: Forecast, seed: int) -> Floats:
        """The gain with costs as they are forecast."""
        kept = self.within(seen) > 0.5
        if self.goal == "score":
            return self._score_gain(candidates, seen, kept)
        if self.goal == "psnr":
            best = seen.mean[kept].max() if kept.any() else candidates.mean.min()
            return expected_excess(candidates.mean, candidates.std, float(best))
        ours, theirs = _logs(candidates.costs, self.costs), _logs(seen.costs, self.costs)
        if set(self.objectives).isdisjoint(QUALITIES):  # nothing to learn: every network is as good
            flat = np.zeros(len(candidates.mean))
            quality, std, levels, floor = flat, flat, np.zeros(int(kept.sum())), -1.0
        else:
            quality, std, levels = candidates.mean, candidates.std, seen.mean[kept]
            least = [*seen.mean, *([] if len(seen.mean) else candidates.mean)]
            floor = float(min(least)) if self.floor_db is None else self.floor_db
        return hypervolume_gain(
            quality,
            std,
            ours,
            seen_quality=levels,
            seen_costs=theirs[kept],
            floor=floor,
            ceiling=np.concatenate([ours, theirs]).max(axis=0) if self.costs else np.zeros(0),
            seed=seed,
        )

    def _score_gain(self, candidates: Forecast, seen: Forecast, kept: npt.NDArray[np.bool_]) -> Floats:
        passing = kept & (seen.mean >= self.gate_db)
        known = seen.costs[SCORE]
        dearest = np.concatenate([known, candidates.costs[SCORE]]).max()
        best = known[passing].min() if passing.any() else dearest
        passes = ndtr((candidates.mean - self.gate_db) / np.maximum(candidates.std, 1e-9))
        result: Floats = passes * np.maximum(best - candidates.costs[SCORE], 0.0)
        return result


def costs_of(goal: GoalWord, objectives: Sequence[str]) -> tuple[str, ...]:
    """What a goal minimises, by name."""
    if goal == "front":
        return tuple(name for name in objectives if name not in QUALITIES)
    return (SCORE,) if goal == "score" else ()


def _logs(costs: Columns, names: Sequence[str]) -> Floats:
    """(N, K): halving a cost is worth as much wherever it is."""
    rows = len(next(iter(costs.values()))) if costs else 0
    return np.log(np.column_stack([costs[name] for name in names])) if names else np.zeros((rows, 0))
