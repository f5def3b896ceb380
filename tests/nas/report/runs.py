"""Made-up runs that look like real ones: SPAN variants, PSNR that grows with size, noise."""

import dataclasses
import math
import random

from nas.analysis.ladder import RUNGS, LadderRun, rung_spec
from nas.analysis.run_state import RunState
from nas.record import Cost, Latency, Quality, TrialRecord
from nas.score import Baseline, Challenge, Gate, Weights
from search_spaces.spec import ArchSpec, BlockSpec

CHALLENGE = Challenge(
    name="NTIRE 2026 Efficient SR",
    weights=Weights(runtime=0.8, flops=0.1, params=0.1),
    baseline=Baseline(
        name="SPAN", device="RTX A6000", runtime_ms=7.74, flops=9.83e9, params=0.151e6
    ),
    gate=Gate(valid_db=26.90, test_db=26.99, tolerance_db=0.01, min_gain_db=-0.04),
)
SPAN = rung_spec("28x6", 4)
BASE_DB = 25.05
GOOD = (26.15, 26.33, 26.42, 26.55)  # mean PSNR of the rungs
POOR = (26.15, 26.19, 26.18, 26.22)
ATTENTION = ("parameter_free", "conv1x1", "none", "near_channel")


def ladder(means=GOOD, *, seeds=3, noise=0.01):
    rng = random.Random(1)
    return tuple(
        LadderRun(
            rung=rung,
            seed=seed,
            psnr_db=mean + (rng.uniform(-noise, noise) if noise else 0.0),
            base_db=BASE_DB,
            fidelity=600,
            train_seconds=5.0 + 4 * place,
        )
        for seed in range(seeds)
        for place, (rung, mean) in enumerate(zip(RUNGS, means, strict=True))
    )


def random_spec(rng: random.Random) -> ArchSpec:
    """SPAN with other channels, blocks, attention and activation."""
    spec = rung_spec(f"{rng.choice(range(12, 37, 4))}x{rng.randint(1, 7)}", 4)
    choice = {
        "attention": rng.choice(ATTENTION),
        "activation": rng.choice(["silu", "relu", "gelu"]),
    }
    return dataclasses.replace(spec, blocks=tuple(_with(block, choice) for block in spec.blocks))


def _with(block: BlockSpec, choice: dict[str, str]) -> BlockSpec:
    return BlockSpec.of(block.kind, **dict(block.args) | (choice if block.kind == "spab" else {}))


def cost(spec: ArchSpec) -> Cost:
    """Roughly that of the network: 3x3 convolutions alone."""
    channels = [int(dict(block.args).get("channels", 28)) for block in spec.blocks]
    params = sum(3 * 9 * width * width for width in channels[:-1]) + 9 * channels[-1] ** 2 + 13_000
    return Cost(
        params=params,
        flops=params * 65_536,
        activations=65_536 * sum(channels) * 3,
        num_conv=3 * len(channels) + 2,
        memory_mib=0.9 * max(channels),
    )


def latency(ratio: float, *, mode="cpu_eager", ci=0.006) -> Latency:
    device = "Intel Xeon Platinum 8480C, 1 thread" if mode.startswith("cpu") else "NVIDIA RTX A6000"
    return Latency(
        runtime_ms=61.0 * ratio, baseline_ms=61.0, ratio=ratio, ci=ci, mode=mode, device=device,
        dtype="float32", sizes="64x64,85x128", threads=1, rounds=9, rejected=0,
    )  # fmt: skip


def quality(psnr_db: float, *, fidelity=600, seconds=21.3) -> Quality:
    return Quality(
        psnr_db=psnr_db, base_db=BASE_DB, fidelity=fidelity, train_seconds=seconds, restarts=0
    )


def complete(
    number, *, gain=0.0, ratio=1.0, spec=SPAN, fidelity=600, reference=GOOD[-1]
) -> TrialRecord:
    return TrialRecord(
        number=number,
        state="complete",
        spec=spec,
        cost=cost(spec),
        latency=latency(ratio, ci=0.0 if number == 0 else 0.006),
        quality=quality(reference + gain, fidelity=fidelity),
    )


def run_state(records=(), *, means=GOOD, noise=0.0, seeds=3, **changes) -> RunState:
    """A state whose ladder has exactly these means, or that of `changes`."""
    fields = {
        "name": "2026-11-02_18-40_span",
        "challenge": CHALLENGE,
        "objectives": ("psnr_gain_db", "runtime_ratio"),
        "limits": {},
        "ladder": ladder(means, seeds=seeds, noise=noise),
        "records": tuple(records),
        "settings": {},
    }
    return RunState(**fields | changes)


def search(num_trials=60, *, means=GOOD, seed=0, limit=300_000, **changes) -> RunState:
    """A whole search: baseline, complete, failed and rejected trials, one with hostile text."""
    rng = random.Random(seed)
    reference = means[-1]
    records = [complete(0, reference=reference)]
    base = cost(SPAN).params
    for number in range(1, num_trials + 1):
        spec = random_spec(rng)
        share = cost(spec).params / base
        if number % 17 == 5:
            records.append(_failed(number, spec))
        elif cost(spec).params > limit:
            reason = f"params {cost(spec).params} is over its limit {limit}"
            records.append(
                TrialRecord(
                    number=number, state="rejected", spec=spec, cost=cost(spec), error=reason
                )
            )
        else:
            gain = 0.16 * math.log(share) * (1 if means is GOOD else 0.1) + rng.gauss(0, 0.02)
            ratio = 0.12 + 0.88 * share**0.8 * rng.uniform(0.85, 1.1)
            records.append(complete(number, gain=gain, ratio=ratio, spec=spec, reference=reference))
    fields = {
        "limits": {"params": limit},
        "settings": {
            "space": "span",
            "sampler": {"name": "nsga2", "population": 12},
            "trials": num_trials,
            "seed": 0,
            "device": "cpu",
            "proxy": {"steps": 600, "optimizer": "muon + adamw"},
            "data": {"train": "built-in photographs (5)", "val": "built-in photographs (2)"},
            "longer_proxy": "nas search proxy=bsds_long, whose ladder was seen to pass",
        },
        "notices": (
            "1 of 2 workers was restarted after it was killed",
            "retina.png: 8 px cropped to a multiple of 4",
        ),
    }
    return run_state(records, means=means, noise=0.01, **fields | changes)


def _failed(number: int, spec: ArchSpec) -> TrialRecord:
    error = f"RuntimeError: loss is nan at step 214 <script>alert('{number}')</script> & </table>"
    return TrialRecord(
        number=number, state="failed", spec=spec, cost=cost(spec), latency=latency(0.7), error=error
    )
