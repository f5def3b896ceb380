"""The ladder: a proxy may decide only where it puts four sizes of SPAN in order, far apart."""

import dataclasses
import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from nas.analysis.lasting import Lasting
from nas.record import Curve, Quality
from nas.system.schema.schema_rules import Amount, Count, Decibels, Matches
from nas.system.schema.stored_schema import parse_as
from search_spaces.published import published
from search_spaces.spec import ArchSpec, BlockSpec

Size = Annotated[str, Matches(r"[1-9][0-9]{0,3}x[1-9][0-9]?", "channels x blocks, as in 28x6")]
RUNGS = ("12x1", "16x3", "20x4", "28x6")  # channels x blocks, the last is SPAN itself
MIN_SPREAD_SEEDS = 5.0  # spread over seed standard deviations
MIN_SPREAD_GATES = 4.0  # spread over the width of the gate


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderRun:
    """One training of one rung.

    Attributes:
        rung: "28x6", channels by blocks.
        base_db: PSNR of the fixed base alone.
        fidelity: training steps.
        curve: PSNR at earlier steps, where it was read.
    """

    rung: Size
    seed: Count
    psnr_db: Decibels
    base_db: Decibels
    fidelity: Count
    train_seconds: Amount
    curve: Curve = ()

    @classmethod
    def of(cls, rung: str, seed: int, quality: Quality) -> "LadderRun":
        """Return the run of a rung that was trained to this quality."""
        return cls(
            rung=rung,
            seed=seed,
            psnr_db=quality.psnr_db,
            base_db=quality.base_db,
            fidelity=quality.fidelity,
            train_seconds=quality.train_seconds,
            curve=quality.curve,
        )

    @classmethod
    def from_json(cls, text: str) -> "LadderRun":
        """Return the run that JSON of its fields describes; SchemaError where it does not."""
        return parse_as(cls, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Return whether a fidelity can rank, and the figures that say so.

    Attributes:
        orders: whether the sizes come out in order, of each seed.
        spread_db: PSNR of the largest size over the smallest's.
        seed_std_db: standard deviation over seeds; None with one seed.
        gate_db: width of the PSNR gate.
        reason: why it passes or fails, in words.
        lasting: how far the data last; None: the largest size was not trained longer.
    """

    passes: bool
    in_order: bool
    orders: tuple[bool, ...]
    spread_db: float
    seed_std_db: float | None
    gate_db: float
    reason: str
    lasting: Lasting | None = None


def rung_spec(rung: str, scale: int) -> ArchSpec:
    """Return SPAN with the channels and blocks of a rung.

    Example:
        >>> len(rung_spec("16x3", 4).blocks)  # SPAN's own last convolution comes on top
        4
    """
    # From the published network, so that a rung differs from SPAN in its size alone.
    channels, blocks = (int(part) for part in rung.split("x"))
    span = dataclasses.replace(published("span"), scale=scale)
    block, tail = span.blocks[0], span.blocks[-1]

    def narrow(part: BlockSpec) -> BlockSpec:
        return BlockSpec.of(part.kind, **{**dict(part.args), "channels": channels})

    assert span.stem is not None
    return dataclasses.replace(
        span,
        stem=narrow(span.stem),
        blocks=(*[narrow(block)] * blocks, narrow(tail)),
        taps=("stem", f"block{blocks + 1}", "block1", f"block{blocks}.inner"),
        fusion=narrow(span.fusion),
    )


def judge(runs: Sequence[LadderRun], gate_db: float, rungs: Sequence[str] = RUNGS) -> Verdict:
    """Return whether a ladder lets its fidelity rank, and why.

    The sizes have to come out in order for every seed, and spread over at least four gate margins
    and five standard deviations over seeds.

    Args:
        runs: at least one run a rung, the same seeds on each.
        gate_db: width of the PSNR gate, 0.04 for NTIRE 2026.
        rungs: smallest first.
    Raises:
        ValueError: a rung has no run.
    """
    by_rung = {rung: {run.seed: run.psnr_db for run in runs if run.rung == rung} for rung in rungs}
    missing = [rung for rung, psnrs_db in by_rung.items() if not psnrs_db]
    if missing:
        raise ValueError(f"the ladder has no run of {', '.join(missing)}")

    # Order is asked of the means and of every seed that all sizes were trained with.
    means = [statistics.fmean(psnrs_db.values()) for psnrs_db in by_rung.values()]
    seeds = sorted(set.intersection(*(set(psnrs_db) for psnrs_db in by_rung.values())))
    orders = tuple(is_rising([psnrs_db[seed] for psnrs_db in by_rung.values()]) for seed in seeds)
    in_order = is_rising(means) and all(orders)

    # In order is not enough: sizes that lie within the noise of seeds come out in order by luck.
    spread = means[-1] - means[0]
    std = _pool_seed_std([list(psnrs_db.values()) for psnrs_db in by_rung.values()])
    faults = _list_spread_faults(spread, std, gate_db)
    if not in_order:
        held = f"{sum(orders)} of {len(orders)} seeds"
        listed = ", ".join(f"{mean:.2f}" for mean in means)
        faults.insert(0, f"the sizes do not come out in order ({held}; means {listed} dB)")
    reason = "; ".join(faults) or (
        f"in order for {len(seeds)} of {len(seeds)} seeds, "
        f"spread {spread:.2f} dB, seed deviation {std:.3f} dB"
    )
    return Verdict(
        passes=not faults,
        in_order=in_order,
        orders=orders,
        spread_db=spread,
        seed_std_db=std,
        gate_db=gate_db,
        reason=reason,
    )


def _pool_seed_std(rungs: Sequence[Sequence[float]]) -> float | None:
    """Return the standard deviation over seeds, pooled over rungs; None with a single seed."""
    if any(len(psnrs_db) < 2 for psnrs_db in rungs):
        return None
    # Variances are pooled, not deviations: the mean of deviations of few seeds is too small.
    variance = statistics.fmean(statistics.variance(psnrs_db) for psnrs_db in rungs)
    return float(variance**0.5)


def _list_spread_faults(spread: float, std: float | None, gate_db: float) -> list[str]:
    """Return in words what is wrong with a spread, in dB."""
    faults = []
    if spread < MIN_SPREAD_GATES * gate_db:
        faults.append(
            f"they spread over {spread:.3f} dB, less than {MIN_SPREAD_GATES:g} gate margins "
            f"({MIN_SPREAD_GATES * gate_db:.2f} dB)"
        )
    # Without a second seed a spread may be all noise.
    if std is None:
        faults.append("with one seed the noise is not known")
    elif spread < MIN_SPREAD_SEEDS * std:
        faults.append(
            f"they spread over {spread:.3f} dB, less than {MIN_SPREAD_SEEDS:g} seed deviations "
            f"({std:.3f} dB)"
        )
    return faults


def references(runs: Sequence[LadderRun], rung: str = RUNGS[-1]) -> dict[int, float]:
    """Return the mean PSNR of a rung by fidelity: the reference of every gain at that fidelity."""
    psnrs_db: dict[int, list[float]] = {}
    for run in runs:
        if run.rung == rung:
            for fidelity, psnr_db in {**dict(run.curve), run.fidelity: run.psnr_db}.items():
                psnrs_db.setdefault(fidelity, []).append(psnr_db)
    return {fidelity: statistics.fmean(psnrs_db[fidelity]) for fidelity in sorted(psnrs_db)}


def is_rising(values: Sequence[float]) -> bool:
    """Return whether each value is higher than the one before."""
    return all(a < b for a, b in itertools.pairwise(values))
