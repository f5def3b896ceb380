"""What a training will reach at its end, by what it has reached on the way."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

PRIOR_DB = 0.05  # spread of gains over which a slope of 1 is believed as much as what was measured
LEAST_STD_DB = 0.005
UNKNOWN_STD_DB = 0.3  # of a line through fewer than three trainings


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """The gain at the end as a line of the gain at a rung, with the spread around it.

    Gains are over the reference at the same step: what all networks have in common is out of them.

    Attributes:
        centre: mean gain at the rung, in dB.
        level: mean gain at the end, in dB.
        std_db: standard deviation of one training around the line.
        count: of trainings that the line was fitted to.
        width: sum of their squared distances from the centre.

    Example:
        >>> line = Projection.of([(-0.2, -0.1), (0.0, 0.1), (0.2, 0.3)])
        >>> mean_db, std_db = line.at(0.1)
        >>> round(mean_db, 3)
        0.2
    """

    slope: float
    centre: float
    level: float
    std_db: float
    count: int
    width: float

    @classmethod
    def of(cls, pairs: Sequence[tuple[float, float]]) -> "Projection":
        """Fit a line to gains at a rung and at the end, in dB, one pair a training.

        The slope is drawn to 1, as if one more pair lay `PRIOR_DB` off the centre: few trainings of
        about one gain say nothing of it.
        """
        if not pairs:
            return cls(slope=1.0, centre=0.0, level=0.0, std_db=UNKNOWN_STD_DB, count=0, width=0.0)
        # Gains here and there differ most by a constant: a line through the means.
        early, late = np.array(pairs, dtype=np.float64).T
        centre, level = float(early.mean()), float(late.mean())

        # Least squares with the prior's pair in both sums.
        width = float(((early - centre) ** 2).sum())
        joint = float(((early - centre) * (late - level)).sum())
        slope = (joint + PRIOR_DB**2) / (width + PRIOR_DB**2)

        residuals = late - level - slope * (early - centre)
        std_db = UNKNOWN_STD_DB
        if len(pairs) > 2:  # a line through two points leaves nothing to judge its spread by
            std_db = math.sqrt(float(residuals @ residuals) / (len(pairs) - 2))
        return cls(
            slope=slope,
            centre=centre,
            level=level,
            std_db=max(std_db, LEAST_STD_DB),
            count=len(pairs),
            width=width,
        )

    def at(self, gain_db: float) -> tuple[float, float]:
        """Return mean and standard deviation of the gain at the end, in dB, by that at the rung."""
        offset = gain_db - self.centre
        mean_db = self.level + self.slope * offset
        if self.count <= 2:
            return mean_db, self.std_db

        # The line itself is uncertain, the more the further from what it was fitted to.
        variance_factor = 1 + 1 / self.count + offset**2 / (self.width + PRIOR_DB**2)
        return mean_db, self.std_db * math.sqrt(variance_factor)


def projections(curves: Iterable[Mapping[int, float]], top: int) -> dict[int, Projection]:
    """Fit a projection from each fidelity below the top.

    Args:
        curves: gains in dB by step, of trainings of any length.
    """
    pairs: dict[int, list[tuple[float, float]]] = {}
    for curve in curves:
        for fidelity, gain_db in curve.items():
            if fidelity >= top:  # the end itself, or another search's longer one
                continue
            # A rung that no training went on from has a projection too: the prior's.
            pairs_here = pairs.setdefault(fidelity, [])
            if top in curve:
                pairs_here.append((gain_db, curve[top]))

    return {fidelity: Projection.of(pairs_here) for fidelity, pairs_here in pairs.items()}
