"""How well two readings of the same networks agree on their order."""

import itertools
import math
import statistics
from collections.abc import Sequence


def compute_tau(
    first: Sequence[float], second: Sequence[float], *, apart: float = 0.0
) -> tuple[float, int]:
    """Return Kendall's tau of two runs, and of how many pairs.

    Args:
        apart: only pairs count whose means over both runs differ by at least this share.

    Example:
        >>> compute_tau([1.0, 2.0, 3.0], [1.0, 3.0, 2.9])
        (0.3333333333333333, 3)
    """
    signs = []
    for (a1, a2), (b1, b2) in itertools.combinations(zip(first, second, strict=True), 2):
        low, high = sorted((math.sqrt(a1 * a2), math.sqrt(b1 * b2)))
        if high / low - 1 >= apart:
            signs.append(math.copysign(1, (a1 - b1) * (a2 - b2)) if a1 != b1 and a2 != b2 else 0.0)
    return (statistics.fmean(signs) if signs else math.nan), len(signs)
