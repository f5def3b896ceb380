"""Counts of several seeds in words, and the ratio of two methods' medians with its interval."""

import numpy as np

DRAWS = 2000


def quartiles(values: np.ndarray, digits: int = 0) -> str:
    """Median and quartiles as values that occurred; "-" for what was not reached (infinite)."""
    low, middle, high = (
        f"{value:.{digits}f}" if np.isfinite(value) else "-"
        for value in (np.quantile(values, share, method="nearest") for share in (0.25, 0.5, 0.75))
    )
    return f"{middle} ({low} to {high})"


def ratio(theirs: np.ndarray, ours: np.ndarray) -> str:
    """The ratio of medians with its bootstrap 95 % interval over seeds."""
    rng = np.random.default_rng(0)
    one, other = (rng.choice(values, (DRAWS, len(values))) for values in (theirs, ours))
    low, high = np.percentile(np.median(one, axis=1) / np.median(other, axis=1), [2.5, 97.5])
    return f"{np.median(theirs) / np.median(ours):.2f} times ({low:.2f} to {high:.2f})"
