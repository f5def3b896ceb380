"""What a search costs beside its trials: milliseconds of proposing and recording, and of rewriting the files.

    python benchmarks/search/overhead.py [--trials 1000] [--sampler nsga2] [--space deep] [--profile]
    python benchmarks/search/overhead.py --sampler cost_aware --space wide --grow nsga2 --trials 2000
    python benchmarks/search/overhead.py --reopen --trials 10000 --demanded 30

A stub stands in for measuring and training, so that a trial takes no time; the study lies in a real journal
in a temporary folder (`--folder` names another disk). The space `deep` is `space=span` with a width for each
of 14 blocks: 21 decisions; `wide` has a width for each of its 6. Ask and tell are `Asker.ask`,
`Asker.make_screen` and `Study.tell`; the files are rewritten by `Files.update` after every record, as the
controller does it, and throttled by it. Medians over the last 100 trials (`--window`); CPU time leaves out
what other processes took, and waiting for the disk. With `--grow` another sampler proposes what comes before
them, and with `--reopen` the same one: the study is then loaded from its journal, as a resumed search does
it, and files are left out while it grows. Demanded: at most 25 ms a trial at 1,000 finished trials with nsga2
and 30 at 10,000; with cost_aware 300 at 200 and 1,000 at 2,000.
"""

import argparse
import contextlib
import cProfile
import math
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
import yaml

from benchmarks.shared.paths import ROOT
from nas.analysis.ladder import RUNGS, LadderRun
from nas.analysis.results import table
from nas.record import Cost, Latency, Quality, TrialRecord
from nas.report.page import render
from nas.score import NTIRE2026_WEIGHTS, Baseline, Challenge, Gate
from nas.search.asking import Asker
from nas.search.model.decisions import read_decisions
from nas.search.samplers.cost_aware import CostAware
from nas.search.samplers.evolution import Evolution
from nas.search.samplers.optuna_samplers import GP, NSGA2, TPE
from nas.search.samplers.random import Random
from nas.search.store.journal import JOURNAL, open_storage
from nas.search.store.run_directory import Files
from nas.search.store.study import Study, StudyRules
from search_spaces import published
from search_spaces.spaces.span import SpanSpace
from search_spaces.spec import ArchSpec

DEMANDED_MS = 25.0
WINDOW = 100
WIDTHS = [0.75, 1.0, 1.25]
SPACES: dict[str, dict[str, list[Any]]] = {  # other options for some decisions of span or spanv2
    "span": {},
    "spanv2": {},
    "wide": {"block_channels": WIDTHS},
    "deep": {"block_channels": WIDTHS, "num_blocks": list(range(1, 15))},
}
CHALLENGE = Challenge(
    name="stub",
    weights=NTIRE2026_WEIGHTS,
    baseline=Baseline(name="SPAN", device="stub", runtime_ms=7.74, flops=9.83e9, params=0.151e6),
    gate=Gate(valid_db=26.9, test_db=26.99, tolerance_db=0.01, min_gain_db=-0.04),
)


def space_of(name: str) -> SpanSpace:
    """A space as conf/space/ has it, but for its options of `SPACES`."""
    file = "spanv2.yaml" if name == "spanv2" else "span.yaml"
    options = yaml.safe_load((ROOT / "conf" / "space" / file).read_text())
    del options["_target_"]
    return SpanSpace(**options | {"scale": 4} | SPACES[name])


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


SAMPLERS = {  # as conf/sampler has them, a population of 50
    "cost_aware": lambda: CostAware(startup=6, screen=3.0),
    "evolution": lambda: Evolution(population=50, startup=None),
    "nsga2": lambda: NSGA2(population=50),
    "tpe": lambda: TPE(startup=10),
    "gp": lambda: GP(startup=10),
    "random": Random,
}


def open_search(folder: Path, sampler: str, space: str) -> Asker:
    """Start the study, or open it again as a resumed search does."""
    searched = space_of(space)
    study = Study(
        open_storage(folder / JOURNAL),
        StudyRules(
            objectives=("psnr_gain_db", "runtime_ratio"),
            limits={"params": 1e6},
            challenge=CHALLENGE,
            baseline=published("span"),
            ladder_seeds=3,
            planned_trials=200,
        ),
        read_decisions(searched),
    )
    return Asker.over(study, searched, SAMPLERS[sampler](), goal="front", fidelities=(400,), seed=0)


def climb(study: Study) -> None:
    """A ladder that passes, and the baseline."""
    for place, rung in enumerate(RUNGS):
        for seed in range(3):
            psnr = 26.5 + 0.2 * place + 0.01 * seed
            study.add_ladder_run(
                LadderRun(
                    rung=rung,
                    seed=seed,
                    psnr_db=psnr,
                    base_db=25.0,
                    fidelity=400,
                    train_seconds=9.0,
                )
            )
    study.set_baseline(stub_record(0, published("span")))


def clocked(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured: the last `window` of `trials`, those before them by `grow` if it is named."""

    sampler: str
    space: str
    trials: int
    window: int
    grow: str | None
    demanded_ms: float


def grown(folder: Path, plan: Plan) -> Asker:
    """A search before the trials that are measured, loaded from its journal if it has any."""
    if plan.grow is None:
        asker = open_search(folder, plan.sampler, plan.space)
        climb(asker.study)
        return asker
    asker = open_search(folder, plan.grow, plan.space)
    climb(asker.study)
    for _ in range(plan.trials - plan.window):
        trial = asker.ask()
        asker.study.tell(trial, stub_record(trial.number, trial.spec))
    return open_search(folder, plan.sampler, plan.space)


def measure(folder: Path, plan: Plan, profile: cProfile.Profile | None) -> None:
    asker = grown(folder, plan)
    study = asker.study
    files = Files(folder, render)
    asks, screens, tells, rewrites, busy = [], [], [], [], []
    start = time.perf_counter()
    for count in range(study.num_counted + 1, plan.trials + 1):
        last = count > plan.trials - plan.window
        with profile if profile and last else contextlib.nullcontext():
            begin, begin_cpu = time.perf_counter(), time.process_time()
            trial = asker.ask()
            asks.append(1000 * (time.perf_counter() - begin))
            screens.append(clocked(lambda t=trial: asker.make_screen(t)))
            record = stub_record(trial.number, trial.spec)
            tells.append(clocked(lambda t=trial, r=record: study.tell(t, r)))
            busy.append(1000 * (time.process_time() - begin_cpu))
        rewrites.append(clocked(lambda: files.update(study.show("overhead", {}))))
    minutes = (time.perf_counter() - start) / 60
    summed = [sum(parts) for parts in zip(asks, screens, tells, strict=True)]
    whole = summed[-plan.window :]
    ask, screen, tell, median = (
        statistics.median(values[-plan.window :]) for values in (asks, screens, tells, summed)
    )
    verdict = "yes" if median <= plan.demanded_ms else "no"
    grown_by = f"{plan.grow}, loaded" if plan.grow else "its own"
    num_trials = len(study.told)
    print(
        "| sampler | space | decisions | trials (proposed) | grown by | ask | screen | tell | all, ms |",
        end="",
    )
    print(" most | CPU | demanded |")
    print("|" + "---|" * 12)
    decisions = len(asker.observer.candidates.decisions)
    print(
        f"| {plan.sampler} | {plan.space} | {decisions} | {plan.trials} ({num_trials}) "
        f"| {grown_by} | {ask:.1f} | {screen:.1f} | {tell:.1f} | {median:.1f} | {max(whole):.0f} "
        f"| {statistics.median(busy[-plan.window :]):.1f} | {plan.demanded_ms:g}: {verdict} |"
    )
    if len(summed) >= 100 + plan.window:
        print(f"at 100 trials all took {statistics.median(summed[50:100]):.1f} ms")
    print(
        f"files: {files.num_rewrites} rewrites in {minutes:.2f} minutes, {files.num_rewrites / minutes:.1f} "
        f"a minute, {sum(rewrites) / (60e3 * minutes):.0%} of the time, asked for {len(rewrites)} times"
    )
    state = study.show("overhead", {})
    now = clocked(lambda: files.update(state, now=True))
    print(
        f"  one at {plan.trials} rows: {now:.0f} ms (table {clocked(lambda: table(state)):.0f} ms, "
        f"page {clocked(lambda: render(state)):.0f} ms); with none to do {statistics.median(rewrites):.2f} ms"
    )
    reopened = clocked(lambda: open_search(folder, plan.sampler, plan.space))
    size = (folder / JOURNAL).stat().st_size / 2**20
    print(f"journal: {size:.1f} MiB, opened again in {reopened:.0f} ms")


def main() -> None:
    samplers = ["cost_aware", "evolution", "nsga2", "tpe", "gp", "random"]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument(
        "--window", type=int, default=WINDOW, help="last trials, which are measured"
    )
    parser.add_argument("--sampler", default="nsga2", choices=samplers)
    parser.add_argument("--space", default="deep", choices=list(SPACES))
    parser.add_argument(
        "--grow", choices=samplers, help="sampler of the trials before the last ones"
    )
    parser.add_argument(
        "--reopen", action="store_true", help="load the study before the last trials"
    )
    parser.add_argument("--demanded", type=float, default=DEMANDED_MS, help="at most so many ms")
    parser.add_argument("--folder", type=Path, default=None, help="where the journal is written")
    parser.add_argument(
        "--profile", action="store_true", help="print where the last trials spent it"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    profile = cProfile.Profile() if options.profile else None
    plan = Plan(
        sampler=options.sampler,
        space=options.space,
        trials=options.trials,
        window=min(options.window, options.trials),
        grow=options.grow or (options.sampler if options.reopen else None),
        demanded_ms=options.demanded,
    )
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        measure(Path(folder), plan, profile)
    if profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(30)


if __name__ == "__main__":
    main()
