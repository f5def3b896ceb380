"""How often do the trust report's intervals hold the true tau between rungs and the end?

    python benchmarks/search/trust.py [METHOD ...] [--table esr_bench_mini] [--trials 30]

Each seed is a search of `nas search evaluator=table fidelity=rungs` to its end, probes and all. Its
report judges rungs by the ladder and four probes. The truth is tau-b over every member of the
table: of PSNR that is averaged over seeds, and of single trainings (seed 0), which are what a
report judges. Ten searches say little of 95 %, so the same is done with probes drawn at random, a
thousand times. Lines are appended to the results file as they come, and what is there is not run
again.

The table has a row a rung: the truth, the share of searches whose interval holds it, what they
reported, and the same of the draws.
"""

import random
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from scipy.stats import kendalltau

from benchmarks.search.table import list_own_settings
from benchmarks.shared.comparison import make_comparison_parser, run_missing
from benchmarks.shared.lines import Line
from benchmarks.shared.tables import format_head, format_row
from nas import Search
from nas.analysis.ladder import rung_spec
from nas.analysis.trust import agreement
from nas.search.table.table import Table, find_table

METHODS = ("cost_aware", "random")
REPORTED = ("tau", "low", "high", "num_networks")  # of an agreement
NUM_PROBES = 4  # of conf/fidelity/rungs.yaml
NUM_DRAWS = 1000
TITLES = (
    *("rung", "true tau", "of single trainings", "searches", "covered", "single covered"),
    *("tau, median", "interval, median", "drawn: covered", "single covered", "tau, mean"),
)


def run_search(method: str, seed: int, table: str, trials: int) -> Line:
    """Search a table by rungs to the end; return a line with the agreements that are reported."""
    found = Table.load(find_table(table))
    overrides = ["evaluator=table", f"table={table}", "fidelity=rungs", "workers=1"]
    overrides += [*list_own_settings(table, found), f"proxy.steps={found.facts.fidelities[-1]}"]
    overrides += [f"sampler={method}", f"trials={trials}", f"seed={seed}"]
    with tempfile.TemporaryDirectory() as folder:
        state = Search(f"run={folder}/run", *overrides).run().state

    judged = [
        {"rung": rung.lower, **{key: getattr(rung, key) for key in REPORTED}}
        for rung in state.trust.to_top
    ]
    probes = [record.spec.arch_id for record in state.records if record.number in state.probes]
    setting = {"table": table, "trials": trials, "method": method, "seed": seed}
    return {**setting, "probes": probes, "judged": judged}


class Truth:
    """What a table says of a rung: PSNR at it and at the end, of every member."""

    def __init__(self, table: Table, rung: int) -> None:
        self.rung, self.top = rung, table.facts.fidelities[-1]
        self.ladder = [
            rung_spec(size, table.facts.scale).arch_id for size in table.facts.ladder_sizes
        ]
        curves = {
            name: [dict(run.curve) for run in entry.trainings if run.curve]
            for name, entry in table.entries.items()
        }
        # Members whose trainings all failed have no curve, and no rank.
        self.curves = {name: runs for name, runs in curves.items() if runs}

    @property
    def tau(self) -> float:
        """Kendall's tau-b of PSNR averaged over seeds."""
        pairs = [
            np.mean([self._read_pair(run) for run in runs], axis=0) for runs in self.curves.values()
        ]
        return float(kendalltau(*np.transpose(pairs)).statistic)

    @property
    def single_tau(self) -> float:
        """Kendall's tau-b of single trainings."""
        pairs = [self._read_pair(runs[0]) for runs in self.curves.values()]
        return float(kendalltau(*np.transpose(pairs)).statistic)

    def draw_reports(self) -> list[Line]:
        """Return what would be reported of the ladder and of probes that were drawn at random."""
        rng = random.Random(0)
        # Sorted, as a set's order differs from process to process.
        others = sorted(self.curves.keys() - set(self.ladder))
        reports = []
        for _ in range(NUM_DRAWS):
            runs = [self.curves[name][0] for name in self.ladder]
            runs += [rng.choice(self.curves[name]) for name in rng.sample(others, NUM_PROBES)]
            pairs = [self._read_pair(run) for run in runs]
            rank = agreement(pairs, lower=self.rung, upper=self.top)
            reports.append({"tau": rank.tau, "low": rank.low, "high": rank.high})
        return reports

    def _read_pair(self, curve: Mapping[int, float]) -> tuple[float, float]:
        return curve[self.rung], curve[self.top]


def compute_coverage(judged: Sequence[Line], truth: float) -> float:
    """Return the share of reports whose interval holds the truth."""
    return statistics.fmean(report["low"] <= truth <= report["high"] for report in judged)


def format_report(lines: Sequence[Line], table: Table) -> Iterator[str]:
    """Yield a Markdown table, a row a rung."""
    yield from format_head(TITLES)
    reports = [report for line in lines for report in line["judged"]]
    for rung in sorted({report["rung"] for report in reports}):
        truth = Truth(table, rung)
        taus = (truth.tau, truth.single_tau)
        judged = [report for report in reports if report["rung"] == rung]
        # Fewer than five networks have no tau.
        judged = [report for report in judged if report["tau"] is not None]
        # The same judgement a thousand times: ten searches say little of 95 %.
        drawn = truth.draw_reports()

        low, middle, high = (
            statistics.median(report[key] for report in judged) for key in ("low", "tau", "high")
        )
        cells = [str(rung), *(f"{tau:.3f}" for tau in taus), str(len(judged))]
        cells += [f"{compute_coverage(judged, tau):.0%}" for tau in taus]
        cells += [f"{middle:.2f}", f"{low:.2f} to {high:.2f}"]
        cells += [f"{compute_coverage(drawn, tau):.1%}" for tau in taus]
        cells += [f"{statistics.fmean(report['tau'] for report in drawn):.3f}"]
        yield format_row(cells)


def main() -> None:
    parser = make_comparison_parser(__doc__, METHODS, "trust.jsonl", only_named=("random",))
    parser.add_argument("--table", default="esr_bench_mini", help="a name or a file")
    parser.add_argument("--trials", type=int, default=30, help="of a search")
    options = parser.parse_args()

    setting = {"table": options.table, "trials": options.trials}
    lines = run_missing(run_search, options, setting, lambda line: print(line, flush=True))
    table = Table.load(find_table(options.table))
    for method in dict.fromkeys(options.methods):
        print(f"\n{method}")
        own_lines = [line for line in lines if line["method"] == method]
        print("\n".join(format_report(own_lines, table)))


if __name__ == "__main__":
    main()
