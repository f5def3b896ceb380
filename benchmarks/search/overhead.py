"""What does a search cost beside its trials? Milliseconds of proposing, recording and its files.

    python benchmarks/search/overhead.py [--trials 1000] [--sampler nsga2] [--space deep]
    python benchmarks/search/overhead.py --sampler cost_aware --space wide --grow nsga2
    python benchmarks/search/overhead.py --reopen --trials 10000 --demanded 30

A stub stands in for measuring and training, so that a trial takes no time; the study lies in a real
journal in a temporary folder (`--folder` names another disk). The space `deep` is `space=span` with
a width for each of 14 blocks: 21 decisions; `wide` has a width for each of its 6. Ask and tell are
`Asker.ask`, `Asker.make_screen` and `Study.tell`; the files are rewritten by `Files.update` after
every record, as the controller does it, and throttled by it.

The table holds medians over the last 100 trials (`--window`); CPU time leaves out what other
processes took, and waiting for the disk. With `--grow` another sampler proposes what comes before
them, and with `--reopen` the same one: the study is then loaded from its journal, as a resumed
search does it, and files are left out while it grows. Demanded: at most 25 ms a trial at 1,000
finished trials with nsga2 and 30 at 10,000; with cost_aware 300 at 200 and 1,000 at 2,000.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
import yaml

from benchmarks.shared.arguments import make_parser
from benchmarks.shared.paths import ROOT
from benchmarks.shared.tables import format_head, format_row
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
from nas.search.store.journal import open_storage
from nas.search.store.run_folder.run_directory import JOURNAL, Files
from nas.search.store.study import Study
from nas.search.store.trials import StudyRules
from search_spaces import published
from search_spaces.spaces.span import SpanSpace
from search_spaces.spec import ArchSpec

DEMANDED_MS = 25.0  # of a trial at 1,000 finished ones with nsga2
WINDOW = 100  # last trials, whose medians count
WIDTHS = [0.75, 1.0, 1.25]
SPACES: dict[str, dict[str, list[Any]]] = {  # other options for some decisions of span or spanv2
    "span": {},
    "spanv2": {},
    "wide": {"block_channels": WIDTHS},
    "deep": {"block_channels": WIDTHS, "num_blocks": list(range(1, 15))},
}
# The challenge's numbers, so that every record has a score.
CHALLENGE = Challenge(
    name="stub",
    weights=NTIRE2026_WEIGHTS,
    baseline=Baseline(name="SPAN", device="stub", runtime_ms=7.74, flops=9.83e9, params=0.151e6),
    gate=Gate(valid_db=26.9, test_db=26.99, tolerance_db=0.01, min_gain_db=-0.04),
)


def make_space(name: str) -> SpanSpace:
    """Return a space as conf/space/ has it, but for its options of `SPACES`."""
    file = "spanv2.yaml" if name == "spanv2" else "span.yaml"
    options = yaml.safe_load((ROOT / "conf" / "space" / file).read_text())
    del options["_target_"]
    return SpanSpace(**options | {"scale": 4} | SPACES[name])


def make_stub_record(number: int, spec: ArchSpec) -> TrialRecord:
    """Return what a trial might have given, by formula: more weights, better and slower."""
    widths = [int(dict(block.args)["channels"]) for block in spec.blocks]
    # Three 3x3 convolutions of width x width a block, as SPAN's.
    params = 27 * sum(width**2 for width in widths)
    # Networks of one size must differ, or samplers have nothing to learn.
    twist = int(spec.arch_id, 16) % 1000 / 1000
    return TrialRecord(
        number=number,
        state="complete",
        spec=spec,
        cost=Cost(
            params=params, flops=params * 65536, activations=sum(widths), num_conv=len(widths),
            memory_mib=9.0,
        ),
        latency=Latency(
            runtime_ms=params / 20e3, baseline_ms=7.5, ratio=params / 150e3 + 0.1 * twist, ci=0.01,
            mode="cpu", device="stub", dtype="float32", sizes="64x64", threads=1, rounds=15,
            rejected=0,
        ),
        quality=Quality(
            psnr_db=26 + 0.1 * math.log(params) + 0.05 * twist, base_db=25.0, fidelity=400,
            train_seconds=10.0, restarts=0,
        ),
    )  # fmt: skip


TITLES = (
    *("sampler", "space", "decisions", "trials (proposed)", "grown by"),
    *("ask", "screen", "tell", "all, ms", "most", "CPU", "demanded"),
)
SAMPLERS = {  # as conf/sampler has them, a population of 50
    "cost_aware": lambda: CostAware(startup=6, screen=3.0),
    "evolution": lambda: Evolution(population=50, startup=None),
    "nsga2": lambda: NSGA2(population=50),
    "tpe": lambda: TPE(startup=10),
    "gp": lambda: GP(startup=10),
    "random": Random,
}


def open_search(folder: Path, sampler: str, space: str) -> Asker:
    """Start the study in a folder, or open it again as a resumed search does."""
    searched = make_space(space)
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


def add_ladder(study: Study) -> None:
    """Add a ladder that passes, and the baseline."""
    for place, rung in enumerate(RUNGS):
        for seed in range(3):
            psnr_db = 26.5 + 0.2 * place + 0.01 * seed
            facts = {"base_db": 25.0, "fidelity": 400, "train_seconds": 9.0}
            study.add_ladder_run(LadderRun(rung=rung, seed=seed, psnr_db=psnr_db, **facts))
    study.set_baseline(make_stub_record(0, published("span")))


def time_call(call: Callable[[], object]) -> float:
    """Return the milliseconds of one call."""
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured: the last `window` of `trials`, those before them by `grow` if named."""

    sampler: str
    space: str
    trials: int
    window: int
    grow: str | None
    demanded_ms: float


def grow_search(folder: Path, plan: Plan) -> Asker:
    """Return a search before the trials that are measured; a grown one comes from its journal."""
    if plan.grow is None:
        asker = open_search(folder, plan.sampler, plan.space)
        add_ladder(asker.study)
        return asker

    # Another search's trials, which a new one then loads.
    asker = open_search(folder, plan.grow, plan.space)
    add_ladder(asker.study)
    for _ in range(plan.trials - plan.window):
        trial = asker.ask()
        asker.study.tell(trial, make_stub_record(trial.number, trial.spec))
    return open_search(folder, plan.sampler, plan.space)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Milliseconds of each trial: asking, screening, telling, its CPU, the files after it."""

    ask: list[float]
    screen: list[float]
    tell: list[float]
    cpu: list[float]
    rewrite: list[float]

    @property
    def whole(self) -> list[float]:
        """Ask, screen and tell together."""
        parts = zip(self.ask, self.screen, self.tell, strict=True)
        return [sum(trial_ms) for trial_ms in parts]


def run_trials(asker: Asker, files: Files, plan: Plan, profile: cProfile.Profile | None) -> Times:
    """Ask and tell until all trials are in the study; the profile sees the last ones."""
    study = asker.study
    times = Times(ask=[], screen=[], tell=[], cpu=[], rewrite=[])
    for count in range(study.num_counted + 1, plan.trials + 1):
        is_measured = count > plan.trials - plan.window
        with profile if profile and is_measured else contextlib.nullcontext():
            # CPU time leaves out what other processes took, and waiting for the disk.
            begin, begin_cpu = time.perf_counter(), time.process_time()
            trial = asker.ask()
            times.ask.append(1000 * (time.perf_counter() - begin))
            times.screen.append(time_call(lambda t=trial: asker.make_screen(t)))
            record = make_stub_record(trial.number, trial.spec)
            times.tell.append(time_call(lambda t=trial, r=record: study.tell(t, r)))
            times.cpu.append(1000 * (time.process_time() - begin_cpu))

        # Most of these calls rewrite nothing: they are throttled.
        times.rewrite.append(time_call(lambda: files.update(study.show("overhead", {}))))
    return times


def measure_overhead(folder: Path, plan: Plan, profile: cProfile.Profile | None) -> None:
    """Run the trials in a folder and print what they took."""
    asker = grow_search(folder, plan)
    files = Files(folder, render)
    start = time.perf_counter()
    times = run_trials(asker, files, plan, profile)
    minutes = (time.perf_counter() - start) / 60

    print("\n".join(_format_times(asker, plan, times)))
    print("\n".join(_describe_files(asker, files, times, minutes)))
    reopen_ms = time_call(lambda: open_search(folder, plan.sampler, plan.space))
    size_mib = (folder / JOURNAL).stat().st_size / 2**20
    print(f"journal: {size_mib:.1f} MiB, opened again in {reopen_ms:.0f} ms")


def _format_times(asker: Asker, plan: Plan, times: Times) -> Iterator[str]:
    """Yield a Markdown table of the last trials' medians, and what the first ones took."""
    yield from format_head(TITLES)
    window = slice(-plan.window, None)
    whole = times.whole
    ask, screen, tell, median, cpu = (
        statistics.median(values[window])
        for values in (times.ask, times.screen, times.tell, whole, times.cpu)
    )
    verdict = "yes" if median <= plan.demanded_ms else "no"
    cells = [plan.sampler, plan.space, len(asker.observer.candidates.decisions)]
    cells += [f"{plan.trials} ({len(asker.study.told)})"]
    cells += [f"{plan.grow}, loaded" if plan.grow else "its own"]
    cells += [f"{value:.1f}" for value in (ask, screen, tell, median)]
    cells += [f"{max(whole[window]):.0f}", f"{cpu:.1f}", f"{plan.demanded_ms:g}: {verdict}"]
    yield format_row(cells)

    # The same at few trials tells whether a trial's cost grows with their number.
    if len(whole) >= 100 + plan.window:
        yield f"at 100 trials all took {statistics.median(whole[50:100]):.1f} ms"


def _describe_files(asker: Asker, files: Files, times: Times, minutes: float) -> Iterator[str]:
    """Yield how often the run's files were rewritten, and what one rewriting takes."""
    count, share = files.num_rewrites, sum(times.rewrite) / (60e3 * minutes)
    yield (
        f"files: {count} rewrites in {minutes:.2f} minutes, {count / minutes:.1f} a minute, "
        f"{share:.0%} of the time, asked for {len(times.rewrite)} times"
    )
    # Once unthrottled, and its two parts alone.
    state = asker.study.show("overhead", {})
    all_ms, table_ms, page_ms = (
        time_call(lambda: files.update(state, now=True)),
        time_call(lambda: table(state)),
        time_call(lambda: render(state)),
    )
    yield (
        f"  one at {asker.study.num_counted} rows: {all_ms:.0f} ms (table {table_ms:.0f} ms, "
        f"page {page_ms:.0f} ms); with none to do {statistics.median(times.rewrite):.2f} ms"
    )


def main() -> None:
    options = _parse_arguments()
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
        measure_overhead(Path(folder), plan, profile)
    if profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(30)


def _parse_arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument(
        "--window", type=int, default=WINDOW, help="last trials, which are measured"
    )
    parser.add_argument("--sampler", default="nsga2", choices=SAMPLERS)
    parser.add_argument("--space", default="deep", choices=SPACES)
    parser.add_argument(
        "--grow", choices=SAMPLERS, help="sampler of the trials before the last ones"
    )
    parser.add_argument(
        "--reopen", action="store_true", help="load the study before the last trials"
    )
    parser.add_argument("--demanded", type=float, default=DEMANDED_MS, help="at most so many ms")
    parser.add_argument("--folder", type=Path, default=None, help="where the journal is written")
    parser.add_argument(
        "--profile", action="store_true", help="print where the last trials spent it"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
