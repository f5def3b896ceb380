"""The challenge's score: exponentials of three ratios to a baseline, and the PSNR gate before."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

MAX_EXPONENT = 700.0  # exp(709.8) overflows; a score is JSON and CSV, so it stays finite
SLACK_DB = 1e-9  # 26.90 - 0.01 is 26.889999999999997 in binary


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much each sub-score counts; they sum to 1, so that the baseline scores e^2."""

    runtime: float
    flops: float
    params: float

    def __post_init__(self) -> None:
        # With weights of another sum the baseline would not score e^2.
        values = (self.runtime, self.flops, self.params)
        if not all(math.isfinite(value) and value >= 0 for value in values):
            raise ValueError(f"weights must be finite and not negative, got {self}")
        if not math.isclose(math.fsum(values), 1, abs_tol=1e-6):
            raise ValueError(
                f"the weights of runtime, flops and params must sum to 1, got {self.runtime:g} + "
                f"{self.flops:g} + {self.params:g} = {math.fsum(values):g}; set all three"
            )


# As in conf/challenge/ntire2026.yaml; a test holds the two equal.
NTIRE2026_WEIGHTS = Weights(runtime=0.8, flops=0.1, params=0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The published network that ratios are taken to.

    Attributes:
        runtime_ms: mean of the validation set's and the test set's means on `device`.
        flops: multiply-accumulates at 1x3x256x256.
        params: of the inference form.
    """

    name: str
    device: str
    runtime_ms: float
    flops: float
    params: float

    def __post_init__(self) -> None:
        for field in ("runtime_ms", "flops", "params"):
            value = getattr(self, field)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{field} of the baseline must be finite and above 0, got {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The PSNR below which a network is not ranked.

    Attributes:
        valid_db, test_db: on the challenge's two sets.
        tolerance_db: granted to these two, as published values are rounded.
        min_gain_db: the gate relative to a reference that was trained and evaluated the same way;
            it has no tolerance.
    """

    valid_db: float
    test_db: float
    tolerance_db: float
    min_gain_db: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.valid_db, self.test_db, self.min_gain_db))):
            raise ValueError(f"the PSNR gate must be finite, got {self}")
        if not (math.isfinite(self.tolerance_db) and self.tolerance_db >= 0):
            raise ValueError(
                f"tolerance_db must be finite and not negative, got {self.tolerance_db}"
            )

    def passes(self, *, valid_db: float | None = None, test_db: float | None = None) -> bool:
        """Return whether every given PSNR reaches its threshold, less the tolerance."""
        # A PSNR that was not measured passes: published tables may hold one of the two.
        pairs = ((valid_db, self.valid_db), (test_db, self.test_db))
        return all(
            psnr is None or psnr >= least - self.tolerance_db - SLACK_DB for psnr, least in pairs
        )

    def passes_relative(self, psnr_gain_db: float) -> bool:
        """Return whether PSNR(candidate) - PSNR(reference) reaches min_gain_db."""
        return psnr_gain_db >= self.min_gain_db - SLACK_DB


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """The three sub-scores, each exp(2 x ratio) and so e^2 for the baseline; lower is better."""

    runtime: float
    flops: float
    params: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One year's rules, or the user's own: weights, baseline and PSNR gate."""

    name: str
    weights: Weights
    baseline: Baseline
    gate: Gate

    def __post_init__(self) -> None:
        if not self.name.isprintable():
            raise ValueError(f"name must be made of printable characters, got {self.name!r}")

    def components(
        self, runtime_ratio: float, flops_ratio: float, params_ratio: float
    ) -> Components:
        """Return the three sub-scores of ratios to the baseline."""
        return Components(
            runtime=_compute_sub_score("runtime_ratio", runtime_ratio),
            flops=_compute_sub_score("flops_ratio", flops_ratio),
            params=_compute_sub_score("params_ratio", params_ratio),
        )

    def score(self, runtime_ratio: float, flops_ratio: float, params_ratio: float) -> float:
        """Return the weighted score of ratios to the baseline, as `challenge_score`."""
        return challenge_score(runtime_ratio, flops_ratio, params_ratio, weights=self.weights)


def challenge_score(
    runtime_ratio: float,
    flops_ratio: float,
    params_ratio: float,
    *,
    weights: Weights = NTIRE2026_WEIGHTS,
) -> float:
    """Return the challenge's score; lower is better, the baseline scores e^2 = 7.3891.

    Args:
        runtime_ratio, flops_ratio, params_ratio: ratios to the baseline, finite and not negative;
            above 350 a ratio counts as 350, so that the score stays finite.
    Raises:
        ValueError: a ratio is negative, NaN or infinite.
    Example:
        >>> round(challenge_score(1, 1, 1), 4)
        7.3891
    """
    return (
        weights.runtime * _compute_sub_score("runtime_ratio", runtime_ratio)
        + weights.flops * _compute_sub_score("flops_ratio", flops_ratio)
        + weights.params * _compute_sub_score("params_ratio", params_ratio)
    )


def ranks(values: Sequence[float]) -> list[int]:
    """Return each value's rank from 1, the smallest first; ties share the smaller rank.

    Example:
        >>> ranks([7.4, 3.5, 7.4, 9.0])
        [2, 1, 2, 4]
    """
    # The first place of a value is the rank of all that are equal to it.
    ordered = sorted(values)
    first: dict[float, int] = {}
    for place, value in enumerate(ordered, start=1):
        first.setdefault(value, place)
    return [first[value] for value in values]


def _compute_sub_score(name: str, ratio: float) -> float:
    if not (math.isfinite(ratio) and ratio >= 0):
        raise ValueError(f"{name} must be finite and not negative, got {ratio}")
    return math.exp(min(2 * ratio, MAX_EXPONENT))
