"""Two ways to search for the same wall-clock time on the same machine: what hypervolume each has found.

    python benchmarks/wallclock.py --train ../shared/data/BSDS200 --select ../shared/data/Set14 --out runs

Each method is `nas search` with `hours=`, in a process of its own, nothing beside it; ladder and baseline
are part of its time. Methods take turns, seed by seed, each first every other time. Searches that are there
are not run again; one that was interrupted is run anew. It needs a machine with nothing else on it.

A hypervolume is that of a search's whole trainings, in dB times share of the baseline's runtime that is
saved: above the gate, which is what a search is after once its ladder passes and what its front holds, as in
benchmarks/table.py; and above the bicubic base, which every network there is worth something to.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from nas.pareto import hypervolume
from nas.search.store.runs import load_run

METHODS = {
    "cost_aware_rungs": ["sampler=cost_aware", "fidelity=rungs"],
    "nsga2": ["sampler=nsga2", "fidelity=single"],
}
FLOORS = ("gate", "base")  # of hypervolumes
DRAWS = 10_000
DONE = "done"  # file in a run's folder: its search came to its end


def found(run: Path) -> dict[str, float]:
    """Hypervolumes of a run, its whole trainings and all its trials."""
    rows = pd.read_csv(run / "trials.csv")
    complete = rows[rows["state"] == "complete"]
    whole = complete[complete["fidelity"] == complete["fidelity"].max()]
    base_gain = (whole["psnr_base_db"] - whole["psnr_db"] + whole["psnr_gain_db"]).mean()
    floors = {"gate": load_run(run).challenge.gate.min_gain_db, "base": base_gain}
    values = np.column_stack([-whole["psnr_gain_db"], whole["runtime_ratio"]])
    volumes = {name: hypervolume(values, (-floor, 1.0)) for name, floor in floors.items()}
    return volumes | {"whole": (whole["number"] > 0).sum(), "trials": (rows["number"] > 0).sum()}


def search(run: Path, method: str, seed: int, options: argparse.Namespace) -> None:
    """One search, from its start to its end."""
    if (run / DONE).exists():
        return
    shutil.rmtree(run, ignore_errors=True)
    overrides = [
        f"run={run}",
        f"seed={seed}",
        f"hours={options.minutes / 60}",
        "data=folder",
        f"data.train={options.train}",
        f"data.select={options.select}",
        *METHODS[method],
    ]
    subprocess.run([sys.executable, "-m", "nas", "search", *overrides], check=True, stdout=subprocess.DEVNULL)
    (run / DONE).touch()
    print(run.name, found(run), flush=True)


def report(out: Path, seeds: int) -> Iterator[str]:
    """For each reference point a Markdown table by seed, and the paired difference with its interval."""
    results = [
        [found(out / f"{method}_{seed}") for method in METHODS]
        for seed in range(seeds)
        if all((out / f"{method}_{seed}" / DONE).exists() for method in METHODS)
    ]
    for above in FLOORS:
        yield f"| above the {above}, seed | {' | '.join(METHODS)} | difference |"
        yield "|" + "---|" * (2 + len(METHODS))
        differences = [first[above] - second[above] for first, second in results]
        for seed, (pair, difference) in enumerate(zip(results, differences, strict=True)):
            cells = [f"{one[above]:.4f} ({one['whole']} of {one['trials']} trials whole)" for one in pair]
            yield f"| {seed} | {' | '.join(cells)} | {difference:+.4f} |"
        yield ""
        if len(differences) > 1:
            draws = np.random.default_rng(0).choice(differences, (DRAWS, len(differences))).mean(axis=1)
            low, high = np.percentile(draws, [2.5, 97.5])
            means = [statistics.fmean(pair[side][above] for pair in results) for side in range(2)]
            yield f"above the {above}: means {means[0]:.4f} and {means[1]:.4f}, "
            yield f"mean difference {np.mean(differences):+.4f} dB ({low:+.4f} to {high:+.4f})"
            yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--train", required=True, help="folder of training photographs")
    parser.add_argument("--select", required=True, help="folder of validation photographs")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in range(options.seeds):
        for method in list(METHODS)[:: 1 if seed % 2 == 0 else -1]:
            search(options.out / f"{method}_{seed}", method, seed, options)
    print("\n".join(report(options.out, options.seeds)))


if __name__ == "__main__":
    main()
