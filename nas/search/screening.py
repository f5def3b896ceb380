"""Whether a candidate is worth a training once its costs are known: limits, and the best PSNR to hope for."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.record import Cost, TrialRecord
from nas.score import Challenge
from nas.search.sampling.aim import QUALITIES, GoalWord, costs_of
from nas.search.sampling.proposer import Proposer, Rival, Seen, stretch


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """What a candidate is held to before it is trained; sent to the worker that measures it.

    Attributes:
        bound_db: the gain that it will hardly exceed.
        gate_db: least gain of goal=score.
        rivals: the front, or for goal=score and goal=psnr the best row that passes.
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
        """The screen of a candidate whose quality is expected with this mean, standard deviation, noise."""
        mean, std, noise = expected
        return cls(
            bound_db=mean + deviations * stretch(seen) * math.hypot(std, noise),
            gate_db=proposer.aim.gate_db,
            goal=proposer.aim.goal,
            objectives=proposer.aim.objectives,
            rivals=tuple(proposer.rivals(seen)),
        )

    def reason(self, costs: Mapping[str, float]) -> str:
        """Why a training would be wasted, in words; empty: it may be worth it, or not all costs are known.

        Args:
            costs: those that are known so far, by name.
        """
        if self.goal == "score" and self.bound_db < self.gate_db:
            return f"screened: at most {self.bound_db:+.3f} dB, the gate is {self.gate_db:+.3f} dB"
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
        dearer = all(costs[name] >= rival.costs[name] for name in names)
        if self.goal == "score":
            return dearer
        if self.goal == "front" and set(self.objectives).isdisjoint(QUALITIES):
            return dearer and any(costs[name] > rival.costs[name] for name in names)
        return dearer and self.bound_db < rival.gain_db


def why_rejected(
    record: TrialRecord,
    limits: Mapping[str, float],
    screen: Screen | None,
    challenge: Challenge,
    baseline: Cost,
) -> str:
    """Why what is measured so far makes a training pointless, in words: limits, then the screen."""
    assert record.cost
    values = record.costs
    if record.latency:
        values["score"] = challenge.score(
            record.latency.ratio,
            record.cost.flops / baseline.flops,
            record.cost.params / baseline.params,
        )
    over = [
        f"{name} {values[name]:g} > {limits[name]:g}"
        for name in limits
        if values.get(name, 0) > limits[name]
    ]
    if over:
        return f"limit: {', '.join(over)}"
    return screen.reason(values) if screen else ""
