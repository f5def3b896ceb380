"""What a network costs, its score beside the baseline's, and how far it is from the gates."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from nas.measure.cost import measure_cost
from nas.measure.latency.config import LatencyConfig
from nas.measure.latency.meter import LatencyMeter
from nas.record import Cost, Latency
from nas.score import Challenge
from search_spaces import ArchSpec

COST_PROTOCOL = (
    "Parameters of the inference form; FLOPs (multiply-accumulates), activations and the peak of "
    "live tensors at 1x3x256x256"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A network beside the challenge's baseline.

    Attributes:
        cost: of the network.
        base_cost: of the baseline.
        latency: the paired reading of both; None: it was not timed.
    """

    baseline: str
    challenge: Challenge
    cost: Cost
    base_cost: Cost
    latency: Latency | None

    @property
    def ratios(self) -> tuple[float, float, float] | None:
        """Ratios of runtime, FLOPs and parameters to the baseline; None: without a runtime."""
        if self.latency is None:
            return None
        return (
            self.latency.ratio,
            self.cost.flops / self.base_cost.flops,
            self.cost.params / self.base_cost.params,
        )

    @property
    def score(self) -> float | None:
        """The challenge's score, lower is better; None: without a runtime there is none."""
        return None if self.ratios is None else self.challenge.score(*self.ratios)

    def margins(self, psnr_db: float) -> dict[str, float]:
        """Return by how many dB a mean PSNR lies above each of the challenge's two gates."""
        gate = self.challenge.gate
        return {"valid": psnr_db - gate.valid_db, "test": psnr_db - gate.test_db}

    def as_json(self) -> dict[str, Any]:
        """Return the score and what it comes from, as JSON holds it."""
        facts: dict[str, Any] = {"challenge": self.challenge.name, "baseline": self.baseline}
        if self.latency is None or self.ratios is None:
            return facts | {"score": None}
        parts = self.challenge.components(*self.ratios)
        return facts | {
            "score": self.score,
            "score_runtime": parts.runtime,
            "score_flops": parts.flops,
            "score_params": parts.params,
            "runtime_ratio": self.ratios[0],
            "runtime_ci": self.latency.ci,
            "flops_ratio": self.ratios[1],
            "params_ratio": self.ratios[2],
            "runtime_ms": self.latency.runtime_ms,
            "baseline_ms": self.latency.baseline_ms,
            "conditions": self.latency.conditions,
            "rounds": self.latency.rounds,
            "flags": self.latency.flags,
        }


def find_standing(
    spec: ArchSpec,
    base: ArchSpec,
    baseline: str,
    challenge: Challenge,
    latency: LatencyConfig | None,
    device: torch.device,
) -> Standing:
    """Count both networks and, with a configuration of latency, time them in turn.

    Runtimes do not depend on weights, so both have random ones, as in nas profile.

    Args:
        base: the baseline, at any scale; it takes the network's.
        latency: how to read; None: not at all.
    Raises:
        ValueError: one of the two cannot be timed.
    """
    base = replace(base, scale=spec.scale)
    reading = None
    if latency is not None:
        meter = LatencyMeter(latency, baseline=base, device=device)
        try:
            # The baseline alone has nothing to be paired with: its ratio is 1 by definition.
            reading = meter.baseline_reading() if spec == base else meter.measure(spec, seed=0)
        except RuntimeError as error:
            raise ValueError(
                f"latency of {spec.arch_id}: {error}; timing=false goes without"
            ) from None
    return Standing(
        baseline=baseline,
        challenge=challenge,
        cost=measure_cost(spec),
        base_cost=measure_cost(base),
        latency=reading,
    )
