"""Which proxy can rank: the ladder under several settings, one line a training, resumable.

    python benchmarks/proxy.py --train ../shared/data/BSDS200 --select ../shared/data/Set14 long adamw

Each variant is a set of overrides of `nas search`; its ladder is climbed by the same code as a search's.
Lines are appended to the results file as they come; what is there, under the same settings, is not trained
again. Without names all variants are run. The table at the end holds PSNR, order, spread, seed deviation and
minutes a training.
"""

import argparse
import functools
import json
import os
import statistics
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nas.commands.composition import compose_command
from nas.commands.schema import build, check
from nas.commands.search import run as search
from nas.data.roles import open_roles
from nas.ladder import LadderRun, judge, rung_names
from nas.search.evaluator import EvaluatorSettings, ProxyEvaluator
from nas.search.workers import Job, Workers
from search_spaces.published import published

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


def climb(name: str, folders: Mapping[str, str], seeds: int, workers: int, results: Path) -> None:
    """Train what is missing of one variant's ladder."""
    parts, setting = compose(name, folders)
    done = {(run.rung, run.seed) for run in read(results, setting)}
    jobs = [
        Job(key=f"{rung} {seed}", method="ladder_run", args=(rung, seed))
        for seed in range(seeds)
        for rung in reversed(rung_names())
        if (rung, seed) not in done
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
            latency=parts["latency"],
            limits={},
            device="cpu",
            seed=0,
            baseline=published("span"),
            replay={},
        )
        with Workers(functools.partial(ProxyEvaluator, settings), count=workers, threads=1) as pool:
            running = 0
            while jobs or running:
                while jobs and pool.idle:
                    pool.submit(jobs.pop(0))
                    running += 1
                for outcome in pool.outcomes(1.0):
                    running -= 1
                    if outcome.error:
                        raise SystemExit(f"{name} {outcome.job.key}: {outcome.error}")
                    line = {"variant": name, **setting, **asdict(outcome.result)}
                    with results.open("a") as file:
                        file.write(json.dumps(line) + "\n")
                    print(name, outcome.result, flush=True)


def compose(name: str, folders: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parts of a search with a variant's proxy, and what a line has to agree with to count for it."""
    overrides = ["data=folder", *(f"data.{role}={path}" for role, path in folders.items()), *VARIANTS[name]]
    composition = compose_command("search", overrides)
    parts = build(check(search, composition.tree, composition.typed, given=("invocation",)))
    names = {role: Path(path).name for role, path in folders.items()}
    return parts, {**names, "proxy": asdict(parts["proxy"])}


def read(results: Path, setting: Mapping[str, Any]) -> list[LadderRun]:
    """The trainings under a setting: the same proxy, the same photographs."""
    if not results.exists():
        return []
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    keys = LadderRun.__dataclass_fields__
    return [
        LadderRun(**{key: line[key] for key in keys}) for line in lines if setting.items() <= line.items()
    ]


def table(results: Path, names: Iterable[str], folders: Mapping[str, str]) -> str:
    """A Markdown table, a row a variant."""
    rows = [
        "| variant | steps | " + " | ".join(rung_names()) + " | base | in order | spread dB | seed dev. dB "
        "| passes | min a training of 28x6 |",
        "|" + "---|" * (9 + len(rung_names())),
    ]
    for name in names:
        runs = read(results, compose(name, folders)[1])
        if {run.rung for run in runs} < set(rung_names()):
            continue
        verdict = judge(runs, 0.04)
        means = [
            f"{statistics.fmean(run.psnr_db for run in runs if run.rung == rung):.3f}"
            for rung in rung_names()
        ]
        minutes = statistics.fmean(run.train_seconds for run in runs if run.rung == rung_names()[-1]) / 60
        deviation = "-" if verdict.seed_std_db is None else f"{verdict.seed_std_db:.3f}"
        rows.append(
            f"| {name} | {runs[0].fidelity} | {' | '.join(means)} | {runs[0].base_db:.3f} | "
            f"{sum(verdict.orders)} of {len(verdict.orders)} | {verdict.spread_db:.3f} | {deviation} | "
            f"{'yes' if verdict.passes else 'no'} | {minutes:.1f} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("variants", nargs="*", default=list(VARIANTS), help=", ".join(VARIANTS))
    parser.add_argument("--train", required=True, help="folder of training photographs")
    parser.add_argument("--select", required=True, help="folder of validation photographs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results" / "proxy.jsonl")
    options = parser.parse_args()
    folders = {"train": options.train, "select": options.select}
    for name in options.variants:
        if name not in VARIANTS:
            parser.error(f"{name} is no variant; known: {', '.join(VARIANTS)}")
        climb(name, folders, options.seeds, options.workers, options.results)
    print(table(options.results, options.variants, folders))


if __name__ == "__main__":
    main()
