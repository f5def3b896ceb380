"""Two ways to search for the same wall-clock time on the same machine: what hypervolume each has found.

    python benchmarks/wallclock.py --train ../shared/data/BSDS200 --select ../shared/data/Set14 --out runs

Each method is `nas search` with `hours=`, in a process of its own, nothing beside it; ladder and baseline
are part of its time. Methods take turns, seed by seed, each first every other time. Searches that are there
are not run again; one that was interrupted is run anew. A search's hypervolume is that of its whole
trainings, in dB above the bicubic base times share of the baseline's runtime that is saved: the reference
point is the base's PSNR and a runtime ratio of 1. It needs a machine with nothing else on it.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from nas.pareto import hypervolume

METHODS = {
    "cost_aware_rungs": ["sampler=cost_aware", "fidelity=rungs"],
    "nsga2": ["sampler=nsga2", "fidelity=single"],
}
DRAWS = 10_000
DONE = "done"  # file in a run's folder: its search came to its end


def found(run: Path) -> tuple[float, int, int]:
    """Hypervolume of a run's front, its whole trainings, and all its trials."""
    rows = pd.read_csv(run / "trials.csv")
    trials = rows[rows["number"] > 0]
    complete = rows[rows["state"] == "complete"]
    whole = complete[complete["fidelity"] == complete["fidelity"].max()]
    gains = whole["psnr_db"] - whole["psnr_base_db"]
    volume = hypervolume(np.column_stack([-gains, whole["runtime_ratio"]]), (0.0, 1.0))
    return volume, int((whole["number"] > 0).sum()), len(trials)


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
    """A Markdown table by seed, and the paired difference with its bootstrap 95 % interval."""
    yield f"| seed | {' | '.join(METHODS)} | difference |"
    yield "|" + "---|" * (2 + len(METHODS))
    differences = []
    for seed in range(seeds):
        runs = [out / f"{method}_{seed}" for method in METHODS]
        if all((run / DONE).exists() for run in runs):
            results = [found(run) for run in runs]
            differences.append(results[0][0] - results[1][0])
            cells = [f"{volume:.4f} ({whole} of {count} trials)" for volume, whole, count in results]
            yield f"| {seed} | {' | '.join(cells)} | {differences[-1]:+.4f} |"
    if len(differences) > 1:
        draws = np.random.default_rng(0).choice(differences, (DRAWS, len(differences))).mean(axis=1)
        low, high = np.percentile(draws, [2.5, 97.5])
        yield ""
        yield f"mean difference {np.mean(differences):+.4f} dB ({low:+.4f} to {high:+.4f})"


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
