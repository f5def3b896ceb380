"""Ways to search for the same wall-clock time on the same machine: what hypervolume each has found.

    python benchmarks/search/wallclock.py --train ../shared/data/BSDS200 --val ../shared/data/Set14 --out runs

Each method is `nas search` with `hours=`, in a process of its own, nothing beside it; ladder and baseline
are part of its time. Methods take turns, seed by seed, each first every other time. Lines are appended to the
results file as they come, and what is there is not run again; a search that was interrupted is run anew. It
needs a machine with nothing else on it.

A hypervolume is that of a search's whole trainings, in dB times share of the baseline's runtime that is
saved: above the gate, which is what a search is after once its ladder passes and what its front holds, as in
search/table.py; and above the bicubic base, where every network is worth something. cost_aware_open is
told to search there, by a gate so low that nothing lies under it.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import pandas as pd

from benchmarks.shared.comparison import parser
from benchmarks.shared.lines import Line, append, read
from nas.analysis.pareto import hypervolume

METHODS = {
    "cost_aware_rungs": ["sampler=cost_aware", "fidelity=rungs"],
    "cost_aware_open": ["sampler=cost_aware", "fidelity=rungs", "challenge.gate.min_gain_db=-1.2"],
    "nsga2": ["sampler=nsga2", "fidelity=single"],
}
OTHER = "nsga2"  # what ours are compared with
GATE_DB = -0.04  # of conf/challenge/ntire2026.yaml
FLOORS = ("gate", "base")  # of hypervolumes
DRAWS = 10_000


def found(run: Path) -> dict[str, float]:
    """Hypervolumes of a run, its whole trainings and all its trials."""
    rows = pd.read_csv(run / "trials.csv")
    complete = rows[rows["state"] == "complete"]
    whole = complete[complete["fidelity"] == complete["fidelity"].max()]
    base_gain = (whole["psnr_base_db"] - whole["psnr_db"] + whole["psnr_gain_db"]).mean()
    floors = {"gate": GATE_DB, "base": base_gain}
    values = np.column_stack([-whole["psnr_gain_db"], whole["runtime_ratio"]])
    volumes = {name: hypervolume(values, (-floor, 1.0)) for name, floor in floors.items()}
    counts = {"whole": whole["number"], "trials": rows["number"]}
    return volumes | {name: int((column > 0).sum()) for name, column in counts.items()}


def search(run: Path, method: str, seed: int, options: argparse.Namespace) -> Line:
    """One search, from its start to its end; a line of the results."""
    shutil.rmtree(run, ignore_errors=True)
    overrides = [
        f"run={run}",
        f"seed={seed}",
        f"hours={options.minutes / 60}",
        "data=folder",
        f"data.train={options.train}",
        f"data.val={options.val}",
        *METHODS[method],
    ]
    subprocess.run(
        [sys.executable, "-m", "nas", "search", *overrides], check=True, stdout=subprocess.DEVNULL
    )
    return {"method": method, "seed": seed, **found(run)}


def report(lines: Sequence[Line]) -> Iterator[str]:
    """For each reference point a Markdown table by seed, and paired differences with their intervals."""
    found = {(line["method"], line["seed"]): line for line in lines}
    seeds = sorted({line["seed"] for line in lines})
    for above in FLOORS:
        yield f"| above the {above}, seed | {' | '.join(METHODS)} |"
        yield "|" + "---|" * (1 + len(METHODS))
        for seed in seeds:
            cells = [_cell(found.get((method, seed)), above) for method in METHODS]
            yield f"| {seed} | {' | '.join(cells)} |"
        yield ""
        for method in METHODS:
            pairs = [
                (found[method, seed][above], found[OTHER, seed][above])
                for seed in seeds
                if method != OTHER and {(method, seed), (OTHER, seed)} <= found.keys()
            ]
            if len(pairs) > 1:
                yield f"above the {above}, {method} less {OTHER}, {len(pairs)} seeds: {_difference(pairs)}"
        yield ""


def _cell(line: Line | None, above: str) -> str:
    return f"{line[above]:.4f} ({line['whole']} of {line['trials']} trials whole)" if line else "-"


def _difference(pairs: Sequence[tuple[float, float]]) -> str:
    """The means, and the mean difference with its bootstrap 95 % interval."""
    ours, others = np.transpose(pairs)
    draws = np.random.default_rng(0).choice(ours - others, (DRAWS, len(pairs))).mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    means = f"{ours.mean():.4f} and {others.mean():.4f} dB"
    return f"{means}, difference {(ours - others).mean():+.4f} ({low:+.4f} to {high:+.4f})"


def main() -> None:
    asked = parser(__doc__, list(METHODS), "wallclock.jsonl", seeds=5, one_at_a_time=True)
    asked.add_argument("--train", required=True, help="folder of training photographs")
    asked.add_argument("--val", required=True, help="folder of validation photographs")
    asked.add_argument("--out", type=Path, required=True, help="folder for the runs")
    asked.add_argument("--minutes", type=float, default=8.0)
    options = asked.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    names = {role: Path(getattr(options, role)).name for role in ("train", "val")}
    setting = {**names, "minutes": options.minutes}
    done = {(line["method"], line["seed"]) for line in read(options.results, setting)}
    for seed in range(options.seeds):
        for method in options.methods[:: 1 if seed % 2 == 0 else -1]:
            if (method, seed) not in done:
                line = search(options.out / f"{method}_{seed}", method, seed, options)
                append(options.results, setting | line)
                print(line, flush=True)
    print("\n".join(report(read(options.results, setting))))


if __name__ == "__main__":
    main()
