"""The ladder: may a proxy decide anything? SPAN at four sizes must come out in order, and spread widely."""

import dataclasses
import itertools
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from nas.record import Curve, Quality, curve_of
from search_spaces.published import published
from search_spaces.spec import ArchSpec, BlockSpec

RUNGS = ("12x1", "16x3", "20x4", "28x6")  # channels x blocks, the last is SPAN itself
MIN_SPREAD_SEEDS = 5.0  # spread over seed standard deviations
MIN_SPREAD_GATES = 4.0  # spread over the width of the gate


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderRun:
    """One training of one rung; `rung` reads "28x6", channels by blocks."""

    rung: str
    seed: int
    psnr_db: float
    base_db: float
    fidelity: int
    train_seconds: float
    curve: Curve = ()

    @classmethod
    def of(cls, rung: str, seed: int, quality: Quality) -> "LadderRun":
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
        data = json.loads(text)
        return cls(**data | {"curve": curve_of(data.get("curve", ()))})


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a fidelity can rank, and the figures that say so. `seed_std_db` is None with one seed."""

    passes: bool
    in_order: bool
    orders: tuple[bool, ...]  # of each seed
    spread_db: float
    seed_std_db: float | None
    gate_db: float
    reason: str


def rung_spec(rung: str, scale: int) -> ArchSpec:
    """SPAN with the channels and blocks of a rung such as "16x3"."""
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
    """Judge a ladder.

    Args:
        runs: at least one run a rung, the same seeds on each.
        gate_db: width of the PSNR gate, 0.04 for NTIRE 2026.
        rungs: smallest first.
    Raises:
        ValueError: a rung has no run.
    """
    by_rung = {rung: {run.seed: run.psnr_db for run in runs if run.rung == rung} for rung in rungs}
    if missing := [rung for rung, results in by_rung.items() if not results]:
        raise ValueError(f"the ladder has no run of {', '.join(missing)}")
    means = [statistics.fmean(results.values()) for results in by_rung.values()]
    seeds = sorted(set.intersection(*(set(results) for results in by_rung.values())))
    orders = tuple(_rises([results[seed] for results in by_rung.values()]) for seed in seeds)
    in_order = _rises(means) and all(orders)
    spread = means[-1] - means[0]
    std = None
    if all(len(results) > 1 for results in by_rung.values()):  # pooled over the rungs
        std = statistics.fmean(statistics.variance(results.values()) for results in by_rung.values()) ** 0.5
    wrong = []
    if not in_order:
        held = f"{sum(orders)} of {len(orders)} seeds"
        wrong.append(f"the sizes do not come out in order ({held}; means {_listed(means)} dB)")
    if spread < MIN_SPREAD_GATES * gate_db:
        wrong.append(
            f"they spread over {spread:.3f} dB, less than {MIN_SPREAD_GATES:g} gate margins "
            f"({MIN_SPREAD_GATES * gate_db:.2f} dB)"
        )
    if std is None:
        wrong.append("with one seed the noise is not known")
    elif spread < MIN_SPREAD_SEEDS * std:
        wrong.append(
            f"they spread over {spread:.3f} dB, less than {MIN_SPREAD_SEEDS:g} seed deviations ({std:.3f} dB)"
        )
    reason = "; ".join(wrong) or (
        f"in order for {len(seeds)} of {len(seeds)} seeds, "
        f"spread {spread:.2f} dB, seed deviation {std:.3f} dB"
    )
    return Verdict(
        passes=not wrong,
        in_order=in_order,
        orders=orders,
        spread_db=spread,
        seed_std_db=std,
        gate_db=gate_db,
        reason=reason,
    )


def references(runs: Sequence[LadderRun], rung: str = RUNGS[-1]) -> dict[int, float]:
    """Mean PSNR of the last rung, SPAN, by fidelity: the reference of every gain at that fidelity."""
    found: dict[int, list[float]] = {}
    for run in runs:
        if run.rung == rung:
            for fidelity, psnr_db in {**dict(run.curve), run.fidelity: run.psnr_db}.items():
                found.setdefault(fidelity, []).append(psnr_db)
    return {fidelity: statistics.fmean(found[fidelity]) for fidelity in sorted(found)}


def _rises(values: Sequence[float]) -> bool:
    return all(a < b for a, b in itertools.pairwise(values))


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)
