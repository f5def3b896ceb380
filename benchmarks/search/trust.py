"""How often the trust report's intervals hold the truth: Kendall's tau between rungs and the end.

    python benchmarks/search/trust.py [METHOD ...] [--table esr_bench_mini] [--trials 30] [--seeds 10]

Each seed is a search of `nas search evaluator=table fidelity=rungs` to its end, probes and all. Its report
judges rungs by the ladder and four probes. The truth is tau-b over every member of the table: of PSNR that is
averaged over seeds, and of single trainings (seed 0), which are what a report judges. Ten searches say little
of 95 %, so the same is done with probes drawn at random, a thousand times. Lines are appended to the results
file as they come, and what is there is not run again.
"""

import random
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from scipy.stats import kendalltau

from benchmarks.search.table import own_settings
from benchmarks.shared.comparison import parser, run_missing
from benchmarks.shared.lines import Line
from nas import Search
from nas.analysis.ladder import rung_spec
from nas.analysis.trust import agreement
from nas.search.table.table import Table, find_table

METHODS = ("cost_aware", "random")
PROBES = 4  # of conf/fidelity/rungs.yaml
DRAWS = 1000


def search(method: str, seed: int, table: str, trials: int) -> Line:
    """One line of the results: the agreements that a search reports."""
    found = Table.load(find_table(table))
    given = [
        "evaluator=table",
        f"table={table}",
        f"proxy.steps={found.facts.fidelities[-1]}",
        "fidelity=rungs",
    ]
    given += [
        *own_settings(table, found),
        f"sampler={method}",
        f"trials={trials}",
        f"seed={seed}",
        "workers=1",
    ]
    with tempfile.TemporaryDirectory() as folder:
        state = Search(f"run={folder}/run", *given).run().state
    judged = [
        {
            "rung": one.lower,
            "tau": one.tau,
            "low": one.low,
            "high": one.high,
            "num_networks": one.num_networks,
        }
        for one in state.trust.to_top
    ]
    probes = [one.spec.arch_id for one in state.records if one.number in state.probes]
    return {
        "table": table,
        "trials": trials,
        "method": method,
        "seed": seed,
        "probes": probes,
        "judged": judged,
    }


class Truth:
    """What a table says of a rung: PSNR at it and at the end, of every member."""

    def __init__(self, table: Table, rung: int) -> None:
        self.rung, self.top = rung, table.facts.fidelities[-1]
        self.curves = {
            name: [dict(run.curve) for run in entry.trainings if run.curve]
            for name, entry in table.entries.items()
        }
        self.ladder = [
            rung_spec(one, table.facts.scale).arch_id for one in table.facts.ladder_sizes
        ]

    def _pair(self, curve: Mapping[int, float]) -> tuple[float, float]:
        return curve[self.rung], curve[self.top]

    @property
    def tau(self) -> float:
        """Of PSNR averaged over seeds."""
        means = [
            np.mean([self._pair(one) for one in runs], axis=0)
            for runs in self.curves.values()
            if runs
        ]
        return float(kendalltau(*np.transpose(means)).statistic)

    @property
    def single_tau(self) -> float:
        """Of single trainings."""
        return float(
            kendalltau(
                *np.transpose([self._pair(runs[0]) for runs in self.curves.values() if runs])
            ).statistic
        )

    def drawn(self) -> list[Mapping[str, Any]]:
        """What would be reported of the ladder and of probes that were drawn at random."""
        rng = random.Random(0)
        others = sorted(
            name for name, runs in self.curves.items() if runs and name not in self.ladder
        )
        found = []
        for _ in range(DRAWS):
            runs = [self.curves[name][0] for name in self.ladder]
            runs += [rng.choice(self.curves[name]) for name in rng.sample(others, PROBES)]
            one = agreement([self._pair(run) for run in runs], lower=self.rung, upper=self.top)
            found.append({"tau": one.tau, "low": one.low, "high": one.high})
        return found


def share_covered(judged: Sequence[Mapping[str, Any]], truth: float) -> float:
    return statistics.fmean(one["low"] <= truth <= one["high"] for one in judged)


def report(lines: Sequence[Mapping[str, Any]], table: Table) -> Iterator[str]:
    """A Markdown table, a row a rung."""
    heads = [
        "rung", "true tau", "of single trainings", "searches", "covered", "single covered", "tau, median",
        "interval, median", "drawn: covered", "single covered", "tau, mean",
    ]  # fmt: skip
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for rung in sorted({one["rung"] for line in lines for one in line["judged"]}):
        truth = Truth(table, rung)
        judged = [
            one
            for line in lines
            for one in line["judged"]
            if one["rung"] == rung and one["tau"] is not None
        ]
        drawn = truth.drawn()
        low, middle, high = (
            statistics.median(one[name] for one in judged) for name in ("low", "tau", "high")
        )
        cells = [str(rung), f"{truth.tau:.3f}", f"{truth.single_tau:.3f}", str(len(judged))]
        cells += [f"{share_covered(judged, one):.0%}" for one in (truth.tau, truth.single_tau)]
        cells += [f"{middle:.2f}", f"{low:.2f} to {high:.2f}"]
        cells += [f"{share_covered(drawn, one):.1%}" for one in (truth.tau, truth.single_tau)]
        cells += [f"{statistics.fmean(one['tau'] for one in drawn):.3f}"]
        yield f"| {' | '.join(cells)} |"


def main() -> None:
    asked = parser(__doc__, METHODS, "trust.jsonl", only_named=("random",))
    asked.add_argument("--table", default="esr_bench_mini")
    asked.add_argument("--trials", type=int, default=30)
    options = asked.parse_args()
    setting = {"table": options.table, "trials": options.trials}
    lines = run_missing(search, options, setting, lambda line: print(line, flush=True))
    table = Table.load(find_table(options.table))
    for method in dict.fromkeys(options.methods):
        print(f"\n{method}")
        print("\n".join(report([line for line in lines if line["method"] == method], table)))


if __name__ == "__main__":
    main()
