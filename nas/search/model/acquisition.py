"""What a search is after, and how much of it a candidate is expected to bring."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from nas.search.model.expected_improvement import (
    expected_hypervolume_improvement,
    expected_improvement,
)

Floats = npt.NDArray[np.float64]
Columns = Mapping[str, Floats]
GoalWord = Literal["front", "score", "psnr"]
QUALITIES = ("psnr_gain_db", "psnr_db")  # one and the same but for a constant
SCORE = "score"
QUADRATURE = (
    (0.0, 2 / 3),
    (-math.sqrt(3), 1 / 6),
    (math.sqrt(3), 1 / 6),
)  # Gauss and Hermite's, 3 nodes
SCORED = ("runtime_ratio", "flops", "params")  # what a score is made of


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Quality and costs of N networks, as far as they are known.

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
class Acquisition:
    """What a search is after, as a function of predictions.

    Attributes:
        goal: front: hypervolume of the objectives; score: the best challenge score over the gate;
            psnr: the best PSNR within the limits.
        objectives: of the front; PSNR is maximised, all others are minimised.
        limits: upper limits of costs.
        gate_db: least gain over the reference, of goal=score.
        floor_db: of goal=front, the gain up to which a network is worth nothing: the base's, or the
            gate where it is believed, below which nothing is on the front. None: the least that was
            observed.
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
        return list_costs(self.goal, self.objectives)

    @property
    def needed(self) -> tuple[str, ...]:
        """The costs that have to be known or predicted; a score comes from its parts."""
        named = dict.fromkeys([*self.costs, *self.limits])
        parts = SCORED if SCORE in named else ()
        return tuple(dict.fromkeys([*(name for name in named if name != SCORE), *parts]))

    def add_score(self, costs: Columns) -> dict[str, Floats]:
        """Return costs with the score that they make, where it is asked for."""
        if SCORE not in (*self.costs, *self.limits):
            return dict(costs)
        assert self.score is not None
        return {**costs, SCORE: self.score(*(costs[name] for name in SCORED))}

    def limit_probability(self, prediction: Prediction) -> Floats:
        """Return the probability that every limit holds, (N,)."""
        probability = np.ones(len(prediction.mean))
        for name, limit in self.limits.items():
            room = np.log(limit) - np.log(prediction.costs[name])
            spread = prediction.spread.get(name)
            probability *= (room >= 0) if spread is None else ndtr(room / np.maximum(spread, 1e-9))
        return probability

    def evaluate(self, candidates: Prediction, known: Prediction, *, seed: int) -> Floats:
        """Return what each candidate is expected to bring, (N,); comparable within one call.

        Args:
            candidates: networks to choose among.
            known: networks whose quality and costs are taken as certain.
            seed: of the corners at which a front of several costs is looked at.
        """
        # Predicted costs are uncertain too: average over three values of each.
        values = np.zeros(len(candidates.mean))
        for offset, weight in QUADRATURE if candidates.spread else [(0.0, 1.0)]:
            factors = {name: np.exp(offset * spread) for name, spread in candidates.spread.items()}
            costs = {
                name: column * factors.get(name, 1.0) for name, column in candidates.costs.items()
            }
            moved = replace(candidates, costs=self.add_score(costs))
            values += weight * self._evaluate_certain_costs(moved, known, seed)
        return self.limit_probability(candidates) * values

    def _evaluate_certain_costs(
        self, candidates: Prediction, known: Prediction, seed: int
    ) -> Floats:
        """Return the expected improvement, (N,), with costs as they are predicted."""
        within = self.limit_probability(known) > 0.5
        if self.goal == "score":
            return self._improve_score(candidates, known, within)
        if self.goal == "psnr":
            best = known.mean[within].max() if within.any() else candidates.mean.min()
            return expected_improvement(candidates.mean, candidates.std, float(best))

        costs, known_costs = (
            _stack_logs(candidates.costs, self.costs),
            _stack_logs(known.costs, self.costs),
        )
        if set(self.objectives).isdisjoint(QUALITIES):
            # No quality is asked for: every network is as good, and there is nothing to learn.
            flat = np.zeros(len(candidates.mean))
            mean, std, levels, floor = flat, flat, np.zeros(int(within.sum())), -1.0
        else:
            mean, std, levels = candidates.mean, candidates.std, known.mean[within]
            least = [*known.mean, *([] if len(known.mean) else candidates.mean)]
            floor = float(min(least)) if self.floor_db is None else self.floor_db

        return expected_hypervolume_improvement(
            mean,
            std,
            costs,
            front_quality=levels,
            front_costs=known_costs[within],
            floor=floor,
            ceiling=np.concatenate([costs, known_costs]).max(axis=0) if self.costs else np.zeros(0),
            seed=seed,
        )

    def _improve_score(
        self, candidates: Prediction, known: Prediction, within: npt.NDArray[np.bool_]
    ) -> Floats:
        """Return the improvement of the score that is expected of each candidate, (N,)."""
        passing = within & (known.mean >= self.gate_db)
        scores = known.costs[SCORE]
        worst = np.concatenate([scores, candidates.costs[SCORE]]).max()
        incumbent = scores[passing].min() if passing.any() else worst
        passes = ndtr((candidates.mean - self.gate_db) / np.maximum(candidates.std, 1e-9))
        improvement: Floats = passes * np.maximum(incumbent - candidates.costs[SCORE], 0.0)
        return improvement


def list_costs(goal: GoalWord, objectives: Sequence[str]) -> tuple[str, ...]:
    """List what a goal minimises, by name."""
    if goal == "front":
        return tuple(name for name in objectives if name not in QUALITIES)
    return (SCORE,) if goal == "score" else ()


def _stack_logs(costs: Columns, names: Sequence[str]) -> Floats:
    """Return the logarithms of costs, (N, K): halving a cost is worth as much wherever it is."""
    num_rows = len(next(iter(costs.values()))) if costs else 0
    return (
        np.log(np.column_stack([costs[name] for name in names]))
        if names
        else np.zeros((num_rows, 0))
    )
