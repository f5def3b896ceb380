"""Which proxy can rank: networks trained briefly in several ways, against the same networks trained long.

    python benchmarks/proxy.py --train ../shared/data/BSDS200 --select ../shared/data/Set14 truth brief adamw

The networks are the ladder and 16 members of space=span, drawn with a fixed seed; the ladder is trained with
three seeds, the others with one. Each variant is a set of overrides of `nas search`, and its trainings are a
search's own. Lines are appended to the results file as they come; what is there, under the same settings, is
not trained again. Without names all variants are run. The table holds each variant's ladder and Kendall's tau
of its single trainings against the long ones, with the 95 % interval of a bootstrap over networks.
"""

import argparse
import functools
import json
import math
import os
import random
import statistics
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ranks import tau

from nas.commands.architectures import resolve_parent
from nas.commands.composition import compose_command
from nas.commands.schema import build, check
from nas.commands.search import run as search
from nas.data.roles import open_roles
from nas.ladder import RUNGS, LadderRun, judge, rung_spec
from nas.measure.cost import summed_cost
from nas.record import Quality
from nas.search.evaluator import EvaluatorSettings, ProxyEvaluator
from nas.search.workers import Job, Workers, work
from search_spaces.chooser import RandomChooser
from search_spaces.published import published
from search_spaces.spec import ArchSpec

LONG = ["proxy=long", "proxy.steps=8000", "proxy.batch_size=8"]
TRUTHS = {  # twenty times the pixels of brief; what counts of a network is its best
    "truth": [*LONG, "proxy.optimizer.muon_lr=0.005"],
    "truth_high": [*LONG, "proxy.optimizer.muon_lr=0.01"],
}
LARGE = 93_000  # parameters from which 0.005 suits better: 28x6 gains 0.04 dB by it, 20x4 loses 0.03
VARIANTS = {
    "brief": ["proxy=brief"],
    "long": ["proxy=long"],
    "adamw": ["proxy=brief", "proxy.optimizer.muon_lr=null"],
    "mse": ["proxy=brief", "proxy.loss=mse"],
    "small_patches": ["proxy=brief", "proxy.batch_size=16", "proxy.patch=16"],
    "low_rates": ["proxy=brief", "proxy.optimizer.muon_lr=0.003", "proxy.optimizer.lr=1e-3"],
    "high_rates": ["proxy=brief", "proxy.optimizer.muon_lr=0.02", "proxy.optimizer.lr=1e-3"],
    "no_average": ["proxy=brief", "proxy.ema=0"],
}
NUM_DRAWN = 16
DRAWN_WITH = 2026  # seed
LADDER_SEEDS = 3
MIN_RANKED = 8  # networks below which a rank agreement says nothing
TWICE = 6  # networks that the truths train with a second seed, the smallest at either rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One line of the results, beside its settings."""

    network: str
    seed: int
    psnr_db: float
    base_db: float
    fidelity: int
    train_seconds: float
    restarts: int
    @classmethod
    def of(cls, network: str, seed: int, quality: Quality) -> "Training":
        return cls(
            network=network,
            seed=seed,
            psnr_db=quality.psnr_db,
            base_db=quality.base_db,
            fidelity=quality.fidelity,
            train_seconds=quality.train_seconds,
            restarts=quality.restarts,
        )


def networks() -> dict[str, ArchSpec]:
    """The ladder, largest last, and the drawn ones by arch_id."""
    found = {rung: rung_spec(rung, 4) for rung in RUNGS}
    space = parts_of([])["space"]
    chooser = RandomChooser(random.Random(DRAWN_WITH))
    known = {spec.arch_id for spec in found.values()}
    while len(found) < len(RUNGS) + NUM_DRAWN:
        spec = space.sample(chooser)
        if spec.arch_id not in known:
            known.add(spec.arch_id)
            found[spec.arch_id] = spec
    return found


def wanted(variant: str) -> Iterator[tuple[str, int]]:
    """Network and seed of each training of a variant, the dearest first."""
    specs = networks()
    names = list(specs)
    if variant in TRUTHS:
        size = {name: summed_cost(spec)["params"] for name, spec in specs.items() if name not in RUNGS}
        rated = [name for name in size if (size[name] >= LARGE) == (variant == "truth")]
        rated.sort(key=lambda name: -size[name])
        yield from ((name, 0) for name in (*reversed(RUNGS), *rated))
        yield from ((name, 1) for name in rated[-TWICE // 2 :])
    else:
        yield from ((name, seed) for seed in range(LADDER_SEEDS) for name in reversed(RUNGS))
        yield from ((name, 0) for name in names if name not in RUNGS)


def train(variant: str, folders: Mapping[str, str], workers: int, results: Path, only: set[str]) -> None:
    """Train what is missing of one variant."""
    parts, setting = compose(variant, folders)
    done = {(line.network, line.seed) for line in read(results, setting)}
    specs = networks()
    jobs = [
        Job(key=f"{name} {seed}", method="train", args=(specs[name], seed, {}))
        for name, seed in wanted(variant)
        if (name, seed) not in done and (not only or name in only)
    ]
    if not jobs:
        return
    roles = open_roles(parts["data"], scale=4)
    with tempfile.TemporaryDirectory() as run:
        settings = EvaluatorSettings(
            run=Path(run),
            sets={"train": roles.need("train"), "select": roles.need("select")},
            memory_mib=8192,
            cache=None,
            scale=4,
            challenge=parts["challenge"],
            proxy=parts["proxy"],
            fidelities=(parts["proxy"].steps,),
            latency=parts["latency"],
            limits={},
            device="cpu",
            seed=0,
            baseline=published("span"),
            replay={},
            parent=resolve_parent(parts["parent"], parts["parent_weights"], scale=4),
        )
        with Workers(functools.partial(ProxyEvaluator, settings), count=workers, threads=1) as pool:
            for outcome in work(pool, jobs, tick=lambda: None):
                if outcome.error:
                    raise SystemExit(f"{variant} {outcome.job.key}: {outcome.error}")
                network, seed = outcome.job.key.split()
                line = Training.of(network, int(seed), outcome.result)
                with results.open("a") as file:
                    file.write(json.dumps({"variant": variant, **setting, **asdict(line)}) + "\n")
                print(variant, line, flush=True)


def parts_of(overrides: list[str]) -> dict[str, Any]:
    """What `nas search` is built from, with these overrides."""
    composition = compose_command("search", overrides)
    return build(check(search, composition.tree, composition.typed, given=("invocation",)))


def compose(variant: str, folders: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parts of a search with a variant's proxy, and what a line has to agree with to count for it."""
    given = ["data=folder", *(f"data.{role}={path}" for role, path in folders.items())]
    parts = parts_of([*given, *(TRUTHS | VARIANTS)[variant]])
    names = {role: Path(path).name for role, path in folders.items()}
    return parts, {**names, "proxy": asdict(parts["proxy"])}


def read(results: Path, setting: Mapping[str, Any]) -> list[Training]:
    """The trainings under a setting: the same proxy, the same photographs."""
    if not results.exists():
        return []
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    keys = Training.__dataclass_fields__
    return [
        Training(**{key: line[key] for key in keys if key in line})
        for line in lines
        if setting.items() <= line.items()
    ]


def truth(folders: Mapping[str, str], results: Path) -> dict[str, float]:
    """The best mean PSNR that each network reached in long trainings, over their rates."""
    found: dict[str, float] = {}
    for variant in TRUTHS:
        runs = read(results, compose(variant, folders)[1])
        for network in {run.network for run in runs}:
            mean = statistics.fmean(run.psnr_db for run in runs if run.network == network)
            found[network] = max(found.get(network, -math.inf), mean)
    return found


def table(names: Iterable[str], folders: Mapping[str, str], results: Path) -> Iterator[str]:
    """A Markdown table, a row a variant: its ladder, and its rank agreement with the long trainings."""
    rungs = RUNGS
    yield (
        f"| variant | steps | {' | '.join(rungs)} | in order | spread dB | seed dev. dB | passes "
        "| tau (95 %) | networks | min a training of 28x6 |"
    )
    yield "|" + "---|" * (9 + len(rungs))
    long = truth(folders, results)
    for name in names:
        runs = read(results, compose(name, folders)[1])
        if not set(rungs) <= {run.network for run in runs}:
            continue
        ladder = [
            LadderRun(
                rung=run.network,
                seed=run.seed,
                psnr_db=run.psnr_db,
                base_db=run.base_db,
                fidelity=run.fidelity,
                train_seconds=run.train_seconds,
            )
            for run in runs
            if run.network in rungs
        ]
        verdict = judge(ladder, 0.04)
        means = [
            f"{statistics.fmean(run.psnr_db for run in ladder if run.rung == rung):.3f}" for rung in rungs
        ]
        minutes = statistics.fmean(run.train_seconds for run in ladder if run.rung == rungs[-1]) / 60
        deviation = "-" if verdict.seed_std_db is None else f"{verdict.seed_std_db:.3f}"
        agreement, count = _agreement(runs, long)
        yield (
            f"| {name} | {ladder[0].fidelity} | {' | '.join(means)} | "
            f"{sum(verdict.orders)} of {len(verdict.orders)} | {verdict.spread_db:.3f} | {deviation} | "
            f"{'yes' if verdict.passes else 'no'} | {agreement} | {count} | {minutes:.1f} |"
        )


def _agreement(runs: Sequence[Training], long: Mapping[str, float]) -> tuple[str, int]:
    """Kendall's tau of one training each (seed 0) against the truth, with its bootstrap interval."""
    pairs = [(run.psnr_db, long[run.network]) for run in runs if run.seed == 0 and run.network in long]
    if len(pairs) < MIN_RANKED:
        return "-", len(pairs)
    rng = random.Random(0)
    drawn = (rng.choices(pairs, k=len(pairs)) for _ in range(1000))
    draws = [tau(*zip(*some, strict=True), apart=1e-9)[0] for some in drawn]  # none against itself
    low, high = statistics.quantiles(draws, n=40)[0], statistics.quantiles(draws, n=40)[-1]
    return f"{tau(*zip(*pairs, strict=True))[0]:.2f} ({low:.2f} to {high:.2f})", len(pairs)


def main() -> None:
    known = TRUTHS | VARIANTS
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("variants", nargs="*", default=list(known), help=", ".join(known))
    parser.add_argument("--train", required=True, help="folder of training photographs")
    parser.add_argument("--select", required=True, help="folder of validation photographs")
    parser.add_argument("--only", nargs="*", default=[], help="names of networks")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results" / "proxy.jsonl")
    options = parser.parse_args()
    folders = {"train": options.train, "select": options.select}
    for name in options.variants:
        if name not in known:
            parser.error(f"{name} is no variant; known: {', '.join(known)}")
        train(name, folders, options.workers, options.results, set(options.only))
    print("\n".join(table(options.variants, folders, options.results)))


if __name__ == "__main__":
    main()
