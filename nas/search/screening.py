"""Whether a candidate is worth a training once its costs are known: by limits and a PSNR bound."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.record import Cost, TrialRecord
from nas.score import Challenge
from nas.search.sampling.aim import QUALITIES, GoalWord, costs_of
from nas.search.sampling.proposer import Proposer, Rival, Seen, stretch


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """What a candidate has to be able to beat; sent to the worker that measures it.

    Attributes:
        bound_db: the gain over the baseline that it will hardly exceed.
        gate_db: the least gain that goal=score admits.
        rivals: rows of the front, or for goal=score and goal=psnr the best row that passes.
    """

    bound_db: float
    gate_db: float
    goal: GoalWord
    objectives: tuple[str, ...]
    rivals: tuple[Rival, ...]

    @classmethod
    def of(
        cls, proposer: Proposer, seen: Sequence[Seen], expected: Sequence[float], deviations: float
    ) -> "Screen":
        """Screen a candidate by its predicted quality.

        Args:
            expected: mean, standard deviation and noise of the quality, in dB.
            deviations: how many standard deviations the bound lies above the mean.
        """
        mean, std, noise = expected
        return cls(
            bound_db=mean + deviations * stretch(seen) * math.hypot(std, noise),
            gate_db=proposer.aim.gate_db,
            goal=proposer.aim.goal,
            objectives=proposer.aim.objectives,
            rivals=tuple(proposer.rivals(seen)),
        )

    def reason(self, costs: Mapping[str, float]) -> str:
        """Say why a training would be wasted; empty: it may pay, or a cost is not known yet.

        Args:
            costs: those that are known so far, by name.
        """
        if self.goal == "score" and self.bound_db < self.gate_db:
            return f"screened: at most {self.bound_db:+.3f} dB, the gate is {self.gate_db:+.3f} dB"

        # Nothing is screened by half of what it costs.
        names = costs_of(self.goal, self.objectives)
        if not set(names) <= set(costs):
            return ""
        for rival in self.rivals:
            if self._is_beaten(costs, rival, names):
                shown = [f"{name} {costs[name]:.4g} to {rival.costs[name]:.4g}" for name in names]
                shown.append(f"at most {self.bound_db:+.3f} dB to {rival.gain_db:+.3f} dB")
                return f"screened: trial {rival.number} cannot be beaten ({', '.join(shown)})"

        return ""

    def _is_beaten(self, costs: Mapping[str, float], rival: Rival, names: tuple[str, ...]) -> bool:
        """Say whether the candidate can at best cost as much as a row that is as good."""
        is_no_cheaper = all(costs[name] >= rival.costs[name] for name in names)
        if self.goal == "score":
            return is_no_cheaper
        # Without PSNR among the objectives equal costs make an equal row, and equal rows all stay.
        if self.goal == "front" and set(self.objectives).isdisjoint(QUALITIES):
            return is_no_cheaper and any(costs[name] > rival.costs[name] for name in names)
        return is_no_cheaper and self.bound_db < rival.gain_db


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
    values = record.costs
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
