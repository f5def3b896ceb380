"""Whether a candidate is worth a training once its costs are known: by limits and a PSNR bound."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from nas.analysis.columns import read_costs
from nas.record import Cost, TrialRecord
from nas.score import Challenge
from nas.search.model.acquisition import QUALITIES, GoalWord, list_costs
from nas.search.model.incumbents import Incumbent, list_incumbents
from nas.search.model.observations import Observations, PredictedQuality, calibration_factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """What a candidate has to be able to beat; sent to the worker that measures it.

    Attributes:
        bound_db: the gain over the baseline that it will hardly exceed.
        gate_db: the least gain that goal=score admits.
        incumbents: rows of the front, or for goal=score and goal=psnr the best row that passes.
    """

    bound_db: float
    gate_db: float
    goal: GoalWord
    objectives: tuple[str, ...]
    incumbents: tuple[Incumbent, ...]

    @classmethod
    def of(
        cls, observations: Observations, predicted: PredictedQuality, max_deviations: float
    ) -> "Screen":
        """Screen a candidate by its predicted quality.

        Args:
            max_deviations: how many standard deviations the bound lies above the mean.
        """
        acquisition = observations.acquisition
        deviation = calibration_factor(observations.rows) * math.hypot(
            predicted.std, predicted.noise
        )
        return cls(
            bound_db=predicted.mean + max_deviations * deviation,
            gate_db=acquisition.gate_db,
            goal=acquisition.goal,
            objectives=acquisition.objectives,
            incumbents=tuple(list_incumbents(observations)),
        )

    def reason(self, costs: Mapping[str, float]) -> str:
        """Say why a training would be wasted; empty: it may pay, or a cost is not known yet.

        Args:
            costs: those that are known so far, by name.
        """
        if self.goal == "score" and self.bound_db < self.gate_db:
            return f"screened: at most {self.bound_db:+.3f} dB, the gate is {self.gate_db:+.3f} dB"

        # Nothing is screened by half of what it costs.
        names = list_costs(self.goal, self.objectives)
        if not set(names) <= set(costs):
            return ""
        for incumbent in self.incumbents:
            if self._is_beaten(costs, incumbent, names):
                shown = [
                    f"{name} {costs[name]:.4g} to {incumbent.costs[name]:.4g}" for name in names
                ]
                shown.append(f"at most {self.bound_db:+.3f} dB to {incumbent.gain_db:+.3f} dB")
                return f"screened: trial {incumbent.number} cannot be beaten ({', '.join(shown)})"

        return ""

    def _is_beaten(
        self, costs: Mapping[str, float], incumbent: Incumbent, names: tuple[str, ...]
    ) -> bool:
        """Say whether the candidate can at best cost as much as a row that is as good."""
        is_no_cheaper = all(costs[name] >= incumbent.costs[name] for name in names)
        if self.goal == "score":
            return is_no_cheaper
        # Without PSNR among the objectives equal costs make an equal row, and equal rows all stay.
        if self.goal == "front" and set(self.objectives).isdisjoint(QUALITIES):
            return is_no_cheaper and any(costs[name] > incumbent.costs[name] for name in names)
        return is_no_cheaper and self.bound_db < incumbent.gain_db


def why_rejected(
    record: TrialRecord,
    limits: Mapping[str, float],
    screen: Screen | None,
    challenge: Challenge,
    baseline: Cost,
) -> str:
    """Say why a training is pointless by what is measured so far: limits, then the screen.

    Args:
        baseline: costs of the baseline, which the score compares with.
    Returns:
        The reason in words; empty: there is none yet.
    """
    assert record.cost
    values = read_costs(record)
    if record.latency:
        values["score"] = challenge.score(
            record.latency.ratio,
            record.cost.flops / baseline.flops,
            record.cost.params / baseline.params,
        )

    # A limit on what is not measured yet is checked at a later call.
    over = [
        f"{name} {values[name]:g} > {limits[name]:g}"
        for name in limits
        if values.get(name, 0) > limits[name]
    ]
    if over:
        return f"limit: {', '.join(over)}"
    return screen.reason(values) if screen else ""
