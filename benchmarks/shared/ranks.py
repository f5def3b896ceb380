"""How well two readings of the same networks agree on their order."""

import itertools
import math
import statistics
from collections.abc import Sequence


def tau(
    first: Sequence[float], second: Sequence[float], *, apart: float = 0.0
) -> tuple[float, int]:
    """Kendall's tau, and of how many pairs; only pairs whose means of both runs differ by that share."""
    signs = []
    for (a1, a2), (b1, b2) in itertools.combinations(zip(first, second, strict=True), 2):
        low, high = sorted((math.sqrt(a1 * a2), math.sqrt(b1 * b2)))
        if high / low - 1 >= apart:
            signs.append(math.copysign(1, (a1 - b1) * (a2 - b2)) if a1 != b1 and a2 != b2 else 0.0)
    return (statistics.fmean(signs) if signs else math.nan), len(signs)
