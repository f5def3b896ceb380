"""What a search costs beside its trials: milliseconds of proposing and recording, and of rewriting the files.

    python benchmarks/overhead.py [--trials 1000] [--sampler nsga2] [--profile]

A stub stands in for measuring and training, so that a trial takes no time; the study lies in a real journal
in a temporary folder (`--folder` names another disk). The space is `space=span` with a width for each of 14
blocks: 21 decisions. Ask and tell are `Ledger.propose` and `Ledger.record`; the files are rewritten by
`Files.update` after every record, as the controller does it, and throttled by it. Medians over the last
100 trials. Demanded: at most 25 ms a trial at 1,000 finished trials with nsga2.
"""

import argparse
import contextlib
import cProfile
import math
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from nas.ladder import RUNGS, LadderRun
from nas.record import Cost, Latency, Quality, TrialRecord
from nas.report.page import render
from nas.results import table
from nas.score import NTIRE2026_WEIGHTS, Baseline, Challenge, Gate
from nas.search.journal import JOURNAL, open_storage
from nas.search.ledger import Ledger
from nas.search.run_directory import Files
from nas.search.sampling.config import SamplerConfig
from search_spaces import published
from search_spaces.chooser import decisions
from search_spaces.spaces.span import SpanSpace
from search_spaces.spec import ArchSpec

DEMANDED_MS = 25.0
WINDOW = 100
SPACE = SpanSpace(
    scale=4,
    entry=["stem"],
    normalise=True,
    num_blocks=list(range(1, 15)),
    channels=[12, 16, 20, 24, 28, 32],
    block_channels=[0.75, 1.0, 1.25],
    tail_channels=[0.75, 1.0],
    attention=["parameter_free", "hard_parameter_free", "diagonal", "conv1x1", "none"],
    activation=["silu", "relu", "hardswish"],
    bias=[True],
    skip=["none", "near"],
    taps=["all", "ends", "last"],
    head=["conv"],
)
CHALLENGE = Challenge(
    name="stub",
    weights=NTIRE2026_WEIGHTS,
    baseline=Baseline(name="SPAN", device="stub", runtime_ms=7.74, flops=9.83e9, params=0.151e6),
    gate=Gate(valid_db=26.9, test_db=26.99, tolerance_db=0.01, min_gain_db=-0.04),
)


def stub_record(number: int, spec: ArchSpec) -> TrialRecord:
    """What a trial might have given, by formula: more weights, better and slower."""
    widths = [int(dict(block.args)["channels"]) for block in spec.blocks]
    params = 27 * sum(width**2 for width in widths)
    twist = int(spec.arch_id, 16) % 1000 / 1000
    return TrialRecord(
        number=number,
        state="complete",
        spec=spec,
        cost=Cost(
            params=params, flops=params * 65536, activations=sum(widths), num_conv=len(widths), memory_mib=9.0
        ),
        latency=Latency(
            runtime_ms=params / 20e3, baseline_ms=7.5, ratio=params / 150e3 + 0.1 * twist, ci=0.01,
            mode="cpu", device="stub", dtype="float32", sizes="64x64", threads=1, rounds=15, rejected=0,
        ),
        quality=Quality(
            psnr_db=26 + 0.1 * math.log(params) + 0.05 * twist, base_db=25.0, fidelity=400,
            train_seconds=10.0, restarts=0,
        ),
    )  # fmt: skip


def open_ledger(folder: Path, sampler: str) -> Ledger:
    """Start the study, or open it again as a resumed search does."""
    return Ledger(
        open_storage(folder / JOURNAL),
        objectives=["psnr_gain_db", "runtime_ratio"],
        limits={"params": 1e6},
        challenge=CHALLENGE,
        baseline=published("span"),
        space=SPACE,
        sampler=SamplerConfig(kind=sampler, population=None, startup=None, screen=3.0),
        goal="front",
        seed=0,
        population=50,
        ladder_seeds=3,
    )


def climb(ledger: Ledger) -> None:
    """A ladder that passes, and the baseline."""
    for place, rung in enumerate(RUNGS):
        for seed in range(3):
            psnr = 26.5 + 0.2 * place + 0.01 * seed
            ledger.add_ladder_run(
                LadderRun(rung=rung, seed=seed, psnr_db=psnr, base_db=25.0, fidelity=400, train_seconds=9.0)
            )
    ledger.set_baseline(stub_record(0, published("span")))


def clocked(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def measure(folder: Path, sampler: str, trials: int, profile: cProfile.Profile | None) -> None:
    ledger = open_ledger(folder, sampler)
    climb(ledger)
    files = Files(folder, render)
    asks, tells, rewrites = [], [], []
    start = time.perf_counter()
    for count in range(1, trials + 1):
        last = count > trials - WINDOW
        with profile if profile and last else contextlib.nullcontext():
            begin = time.perf_counter()
            proposal = ledger.propose()
            asks.append(1000 * (time.perf_counter() - begin))
            record = stub_record(proposal.number, proposal.spec)
            tells.append(clocked(lambda p=proposal, r=record: ledger.record(p, r)))
        rewrites.append(clocked(lambda: files.update(ledger.state("overhead", {}))))
    minutes = (time.perf_counter() - start) / 60
    both = [ask + tell for ask, tell in zip(asks, tells, strict=True)][-WINDOW:]
    median = statistics.median(both)
    verdict = "yes" if median <= DEMANDED_MS else "no"
    num_trials = len(ledger.study.get_trials(deepcopy=False))
    print(f"{sampler}: {len(decisions(SPACE))} decisions, {trials} trials recorded, {num_trials} proposed")
    print(
        f"  ask {statistics.median(asks[-WINDOW:]):.1f} ms, tell {statistics.median(tells[-WINDOW:]):.1f} ms"
    )
    print(f"  both {median:.1f} ms (largest {max(both):.1f}); at most {DEMANDED_MS:g} ms: {verdict}")
    earlier = statistics.median(asks[50:100]) + statistics.median(tells[50:100])
    print(f"  at 100 trials both took {earlier:.1f} ms")
    print(
        f"  files: {files.num_rewrites} rewrites in {minutes:.2f} minutes, {files.num_rewrites / minutes:.1f}"
    )
    print(
        f"    a minute, {sum(rewrites) / (60e3 * minutes):.0%} of the time, though asked for {trials} times"
    )
    state = ledger.state("overhead", {})
    whole = clocked(lambda: files.update(state, now=True))
    print(f"    one at {trials} rows: {whole:.0f} ms (table {clocked(lambda: table(state)):.0f} ms, ", end="")
    print(
        f"page {clocked(lambda: render(state)):.0f} ms); with none to do {statistics.median(rewrites):.2f} ms"
    )
    reopened = clocked(lambda: open_ledger(folder, sampler))
    size = (folder / JOURNAL).stat().st_size / 2**20
    print(f"  journal: {size:.1f} MiB, opened again in {reopened:.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--sampler", default="nsga2", choices=["cost_aware", "nsga2", "tpe", "gp", "random"])
    parser.add_argument("--folder", type=Path, default=None, help="where the journal is written")
    parser.add_argument("--profile", action="store_true", help="print where the last 100 trials spent it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    profile = cProfile.Profile() if options.profile else None
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        measure(Path(folder), options.sampler, options.trials, profile)
    if profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(30)


if __name__ == "__main__":
    main()
