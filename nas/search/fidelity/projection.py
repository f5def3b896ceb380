"""What a training will reach at its end, by what it has reached on the way."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

PRIOR_DB = 0.05  # spread of gains over which a slope of 1 is believed as much as what was seen
LEAST_STD_DB = 0.005
UNKNOWN_STD_DB = 0.3  # of a line through fewer than three trainings


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """The gain at the end as a line of the gain at a rung, with the spread of what was seen around it.

    Gains are over the reference at the same step: what all networks have in common is out of them.
    """

    slope: float
    centre: float  # mean gain at the rung
    level: float  # mean gain at the end
    std_db: float  # of one training around the line
    count: int
    width: float  # sum of squared distances from the centre

    @classmethod
    def of(cls, pairs: Sequence[tuple[float, float]]) -> "Projection":
        """Fit gains at a rung and at the end, in dB, one pair a training.

        The slope is drawn to 1, as if one more pair lay `PRIOR_DB` off the centre: few trainings of about
        one gain say nothing of it.
        """
        if not pairs:
            return cls(slope=1.0, centre=0.0, level=0.0, std_db=UNKNOWN_STD_DB, count=0, width=0.0)
        early, late = np.array(pairs, dtype=np.float64).T
        centre, level = float(early.mean()), float(late.mean())
        width = float(((early - centre) ** 2).sum())
        joint = float(((early - centre) * (late - level)).sum())
        slope = (joint + PRIOR_DB**2) / (width + PRIOR_DB**2)
        left = late - level - slope * (early - centre)
        std = math.sqrt(float(left @ left) / (len(pairs) - 2)) if len(pairs) > 2 else UNKNOWN_STD_DB
        return cls(
            slope=slope,
            centre=centre,
            level=level,
            std_db=max(std, LEAST_STD_DB),
            count=len(pairs),
            width=width,
        )

    def at(self, gain_db: float) -> tuple[float, float]:
        """Mean and standard deviation of the gain at the end, in dB, for a gain at the rung."""
        offset = gain_db - self.centre
        if self.count <= 2:
            return self.level + self.slope * offset, self.std_db
        share = 1 + 1 / self.count + offset**2 / (self.width + PRIOR_DB**2)
        return self.level + self.slope * offset, self.std_db * math.sqrt(share)


def projections(curves: Iterable[Mapping[int, float]], top: int) -> dict[int, Projection]:
    """A projection from each fidelity below the top, by what trainings gained there and at the top.

    Args:
        curves: gains in dB by step, of trainings of any length.
    """
    pairs: dict[int, list[tuple[float, float]]] = {}
    for curve in curves:
        for fidelity, gain_db in curve.items():
            if fidelity < top:
                found = pairs.setdefault(fidelity, [])
                if top in curve:
                    found.append((gain_db, curve[top]))
    return {fidelity: Projection.of(found) for fidelity, found in pairs.items()}
