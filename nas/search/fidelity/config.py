"""At which steps trainings pause: what conf/fidelity/*.yaml builds."""

import itertools
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FidelityConfig:
    """The rungs of a training.

    Attributes:
        rungs: shares of `proxy.steps` at which a training is read and pauses, rising; empty: it
            goes through.
        probes: how many of the first trials are trained to the end before the search ends, whatever
            they promise: by them and the ladder it is judged how far a rung ranks as the end does.
        least_tau: Kendall's tau between a rung and the end below which trainings do not pause
            there.

    Example:
        >>> FidelityConfig(rungs=[0.125, 0.5], probes=4, least_tau=0.5).fidelities(800)
        (100, 400, 800)
    """

    rungs: list[float]
    probes: int
    least_tau: float

    def __post_init__(self) -> None:
        are_inside = all(0 < share < 1 for share in self.rungs)
        if not are_inside or any(a >= b for a, b in itertools.pairwise(self.rungs)):
            raise ValueError(
                "fidelity.rungs must be rising shares of proxy.steps between 0 and 1, got "
                f"{self.rungs}; such as [0.125,0.25,0.5]"
            )

        if self.probes < 0:
            raise ValueError(f"fidelity.probes must be at least 0, got {self.probes}")
        if not -1 <= self.least_tau <= 1:
            raise ValueError(
                f"fidelity.least_tau must be between -1 and 1, got {self.least_tau}; 0.5 is usual"
            )

    def fidelities(self, steps: int) -> tuple[int, ...]:
        """Return the steps at which a training of `steps` steps is read, its end the last.

        Raises:
            ValueError: two rungs fall on one step.
        """
        fidelities = (*(round(share * steps) for share in self.rungs), steps)
        if fidelities[0] < 1 or any(a >= b for a, b in itertools.pairwise(fidelities)):
            raise ValueError(
                f"fidelity.rungs={self.rungs} of proxy.steps={steps} are the steps "
                f"{list(fidelities)}: each must be at least one more than the one before; "
                "give fewer rungs or more steps"
            )

        return fidelities
