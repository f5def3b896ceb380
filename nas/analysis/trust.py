"""How far a run's PSNR can be trusted: rank agreement of fidelities, and the noise of seeds."""

import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

DRAWS = 1000
LEAST_NETWORKS = 5  # a rank agreement of fewer says nothing
CONFIDENCE = 0.95
TWO_SIDED = statistics.NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far two fidelities rank networks alike.

    Attributes:
        lower, upper: training steps.
        tau: Kendall's tau-b; None of fewer than five networks.
        low, high: its 95 % interval.
    """

    lower: int
    upper: int
    num_networks: int
    tau: float | None
    low: float | None
    high: float | None


def agreement(
    pairs: Sequence[tuple[float, float]], *, lower: int, upper: int, seed: int = 0
) -> Agreement:
    """Return the rank agreement of networks that were read at two fidelities.

    The interval is the percentile bootstrap's over networks, widened where the normal approximation
    through Fisher's transform is wider: a bootstrap of few networks that agree wholly has no width.

    Args:
        pairs: of each network, its PSNR at the lower and at the upper fidelity.
    Source: Fieller, Hartley and Pearson, Tests for rank correlation coefficients I, 1957: the
        variance of artanh(tau) is about 0.437 / (n - 4).
    Example:
        >>> agreement([(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)], lower=100, upper=800).tau
        1.0
    """
    count = len(pairs)
    if count < LEAST_NETWORKS:
        return Agreement(
            lower=lower, upper=upper, num_networks=count, tau=None, low=None, high=None
        )

    # The first sample holds every network once: it gives tau itself.
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=DRAWS)
    values = _compute_taus(pairs, np.vstack([np.ones(count), draws]))
    tau, edge = float(values[0]), (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(values[1:], [edge, 1 - edge])

    # artanh(1) is infinite, so tau counts at most as if one pair were the wrong way round.
    reach = TWO_SIDED * math.sqrt(0.437 / max(1, count - 4))
    most = 1 - 4 / (count * (count - 1))
    centre = math.atanh(min(max(tau, -most), most))
    return Agreement(
        lower=lower,
        upper=upper,
        num_networks=count,
        tau=tau,
        low=min(float(low), math.tanh(centre - reach)),
        high=max(float(high), math.tanh(centre + reach)),
    )


def _compute_taus(
    pairs: Sequence[tuple[float, float]], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return Kendall's tau-b of samples, (D,).

    Args:
        weights: (D, N), how often a sample holds a pair.
    """
    first, second = (np.sign(np.subtract.outer(column, column)) for column in np.array(pairs).T)

    def sum_products(signs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(((weights @ signs) * weights).sum(axis=1))

    with np.errstate(invalid="ignore"):  # a sample of one network alone has none
        return np.asarray(
            sum_products(first * second) / np.sqrt(sum_products(first**2) * sum_products(second**2))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How much a PSNR varies with the seed alone, after `fidelity` training steps.

    Attributes:
        std_db: standard deviation over seeds, pooled over networks.
        gap_db: two single trainings that are less apart cannot be told from each other, with 95 %
            confidence.
        num_networks: that were trained with several seeds.
    """

    fidelity: int
    std_db: float
    gap_db: float
    num_networks: int


def noise(runs: Mapping[str, Sequence[float]], *, fidelity: int) -> Noise | None:
    """Return the noise of seeds at a fidelity; None where no network was trained twice.

    Args:
        runs: PSNR in dB of each network, a value a seed.
    """
    repeated = [values for values in runs.values() if len(values) > 1]
    degrees_of_freedom = sum(len(values) - 1 for values in repeated)
    if not degrees_of_freedom:
        return None

    # Pooled over networks, each by its degrees of freedom.
    squares = sum(statistics.variance(values) * (len(values) - 1) for values in repeated)
    std = math.sqrt(squares / degrees_of_freedom)
    return Noise(
        fidelity=fidelity,
        std_db=std,
        gap_db=TWO_SIDED * math.sqrt(2) * std,
        num_networks=len(repeated),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What is known of the fidelities of a run, lowest first.

    Attributes:
        noise: at each fidelity where networks were trained with several seeds.
        steps: rank agreement of each fidelity with the next.
        to_top: rank agreement of each fidelity with the last.
    """

    noise: tuple[Noise, ...]
    steps: tuple[Agreement, ...]
    to_top: tuple[Agreement, ...]


def measure_trust(
    curves: Mapping[str, Mapping[int, float]], seeds: Iterable[tuple[str, Mapping[int, float]]]
) -> Trust:
    """Return how far fidelities rank alike, and the noise of seeds at each.

    Args:
        curves: PSNR by step, of one training each of networks that were trained to the end whatever
            they promised: those that a search chose to go on with agree less than networks at
            large.
        seeds: name and PSNR by step of every training of the networks that have several.
    """
    repeated = list(seeds)
    all_curves = [*curves.values(), *(curve for _, curve in repeated)]
    fidelities = sorted({step for curve in all_curves for step in curve})

    floors = []
    for fidelity in fidelities:
        runs: dict[str, list[float]] = {}
        for name, curve in repeated:
            if fidelity in curve:
                runs.setdefault(name, []).append(curve[fidelity])
        floor = noise(runs, fidelity=fidelity)
        floors += [floor] if floor else []

    # A network counts where it was read at both fidelities.
    def agree(lower: int, upper: int) -> Agreement:
        both = [curve for curve in curves.values() if lower in curve and upper in curve]
        return agreement([(curve[lower], curve[upper]) for curve in both], lower=lower, upper=upper)

    top = fidelities[-1] if fidelities else 0
    return Trust(
        noise=tuple(floors),
        steps=tuple(agree(lower, upper) for lower, upper in itertools.pairwise(fidelities)),
        to_top=tuple(agree(lower, top) for lower in fidelities[:-1]),
    )
