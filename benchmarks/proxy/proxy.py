"""Which proxy ranks networks as a long training does?

    python benchmarks/proxy/proxy.py --train ../shared/data/BSDS200 --val ../shared/data/Set14
        [VARIANT ...] [--parent-weights SPAN.pth] [--clock] [--plot proxy.svg]

The networks are the ladder and 16 members of space=span, drawn with a fixed seed; the ladder is
trained with three seeds, with five under `brief`, the others with one, under `first` with three.
Each variant is a set of overrides of `nas search`, and its trainings are a search's own. Lines are
appended to the results file as they come; what is there, under the same settings, is not trained
again. Without names all variants are run. With --clock nothing is trained to the end: how long a
training takes is read on one thread, which wants a quiet machine.

The table holds each variant's ladder and, over ladder and drawn networks, Kendall's tau-b of single
trainings (seed 0) with the long ones, with its 95 % interval (`nas.analysis.trust.agreement`).
`seeds_2` and `seeds_3` are means of `first` over seeds, `rates` is the best of its three rates for
each network, and `again` is how a second long training would agree with the first by the noise of
its seeds: none can be expected to agree better.
"""

import argparse
import statistics
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import plotly.graph_objects as go
from scipy.stats import kendalltau

from benchmarks.proxy.study import Study, format_agreement, group_by_network, list_networks
from benchmarks.proxy.variants import TRUTHS, VARIANTS
from benchmarks.shared.arguments import make_parser, pick_names
from benchmarks.shared.lines import Line
from benchmarks.shared.tables import format_head, format_row
from nas.analysis.ladder import RUNGS, LadderRun, judge
from nas.analysis.trust import Agreement, agreement
from nas.system.cores import num_cores

RATES = ("first", "muon_low", "muon_high")  # variants that differ in Muon's rate alone
NUM_DRAWS = 1000  # of a second long training
GATE_DB = 0.04  # the margin that a ladder is judged by
LADDER_TITLES = ("steps", *RUNGS, "in order", "spread dB", "seed dev. dB", "passes")
TITLES = ("proxy", "", *LADDER_TITLES, "tau (95 %)", "s a training", "tau a minute")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What came of one proxy.

    Attributes:
        psnr_db: by network, of what it would rank by.
        ladder: its trainings of the ladder; none: it is made of other variants' trainings.
        seconds: a training of each network that was clocked.
    """

    name: str
    what: str
    psnr_db: Mapping[str, float]
    ladder: Sequence[Line] = ()
    steps: int = 0
    seconds: Sequence[float] = ()


def collect_rows(study: Study, names: Sequence[str]) -> Iterator[Row]:
    """Yield the variants whose ladder was trained, then what can be made of several."""
    networks = list(list_networks())
    runs = {name: study.list_runs(VARIANTS[name]) for name in names if name in VARIANTS}
    for name in runs:
        yield from _make_row(study, name, runs[name], networks)

    # Means over seeds.
    for count in (2, 3):
        means = _average_runs([run for run in runs.get("first", []) if run["seed"] < count], count)
        if means.keys() >= set(networks):
            what = f"first, mean of {count} seeds"
            yield Row(name=f"seeds_{count}", what=what, psnr_db=means)

    # The best rate of each network.
    singles = [
        _average_runs([run for run in runs.get(name, []) if run["seed"] == 0], 1) for name in RATES
    ]
    if all(psnr_db.keys() >= set(networks) for psnr_db in singles):
        best = {network: max(psnr_db[network] for psnr_db in singles) for network in networks}
        what = "best of Muon 0.005, 0.01 and 0.02 for each network"
        yield Row(name="rates", what=what, psnr_db=best)


def _make_row(
    study: Study, name: str, runs: Sequence[Line], networks: Collection[str]
) -> Iterator[Row]:
    """Yield a variant's row; none where its ladder is not complete.

    Its PSNRs are empty, so that it has no tau, where a network is missing.
    """
    singles = {run["network"]: run["psnr_db"] for run in runs if run["seed"] == 0}
    if not set(RUNGS) <= singles.keys():
        return
    # The ladder was trained with several seeds: its deviation is the noise.
    ladder = [run for run in runs if run["network"] in RUNGS]
    clocks = study.list_lines(VARIANTS[name], "clocked")
    yield Row(
        name=name,
        what=VARIANTS[name].what,
        psnr_db=singles if set(networks) <= singles.keys() else {},
        ladder=ladder,
        steps=ladder[0]["fidelity"],
        seconds=clocks[0]["clocked"] if clocks else [],
    )


def _average_runs(runs: Sequence[Line], count: int) -> dict[str, float]:
    """Return the mean PSNR in dB of the networks with so many trainings."""
    return {
        network: statistics.fmean(values)
        for network, values in group_by_network(runs).items()
        if len(values) == count
    }


def judge_rows(study: Study, names: Sequence[str]) -> list[tuple[Agreement, Row]]:
    """Return the proxies with their rank agreement, the best first; those without a tau last."""
    truth = study.compute_truth()
    judged = [(_rank_agreement(row.psnr_db, truth), row) for row in collect_rows(study, names)]
    return sorted(judged, key=lambda pair: -(-1 if pair[0].tau is None else pair[0].tau))


def _rank_agreement(psnr_db: Mapping[str, float], truth: Mapping[str, float]) -> Agreement:
    pairs = [(value, truth[network]) for network, value in psnr_db.items() if network in truth]
    return agreement(pairs, lower=0, upper=1)


def format_table(study: Study, judged: Sequence[tuple[Agreement, Row]]) -> Iterator[str]:
    """Yield the lines of a Markdown table: the proxies, the best rank agreement first."""
    yield from format_head(TITLES)
    for rank, row in judged:
        seconds, rate = "-", "-"
        if row.seconds:
            mean = statistics.fmean(row.seconds)
            seconds = f"{mean:.0f} ({max(row.seconds):.0f})"
            rate = "-" if rank.tau is None else f"{rank.tau * 60 / mean:.1f}"
        yield format_row(
            [row.name, row.what, *_format_ladder(row), format_agreement(rank), seconds, rate]
        )

    # What a second long training would reach.
    std_db = study.estimate_truth_noise()
    if std_db is not None:
        tau = _simulate_again(study.compute_truth(), std_db)
        empty = [""] * len(LADDER_TITLES)
        yield format_row(["again", "another long training", *empty, tau, "", ""])


def _format_ladder(row: Row) -> list[str]:
    """Return the cells on a proxy's ladder."""
    if not row.ladder:
        return [""] * len(LADDER_TITLES)

    keys = ("seed", "psnr_db", "base_db", "fidelity", "train_seconds")
    runs = [LadderRun(rung=run["network"], **{key: run[key] for key in keys}) for run in row.ladder]
    verdict = judge(runs, GATE_DB)
    means = [statistics.fmean(run.psnr_db for run in runs if run.rung == rung) for rung in RUNGS]
    return [
        str(row.steps),
        *(f"{mean:.3f}" for mean in means),
        f"{sum(verdict.orders)} of {len(verdict.orders)}",
        f"{verdict.spread_db:.3f}",
        "-" if verdict.seed_std_db is None else f"{verdict.seed_std_db:.3f}",
        "yes" if verdict.passes else "no",
    ]


def _simulate_again(truth: Mapping[str, float], std_db: float) -> str:
    """Return median and 95 % range of tau between the truth and itself with a training's noise."""
    rng = np.random.default_rng(0)
    values = np.array(list(truth.values()))
    # The truth itself, once more, with the noise of a training's seed.
    again = values + rng.normal(0, std_db, (NUM_DRAWS, len(values)))
    taus = [kendalltau(values, drawn).statistic for drawn in again]
    low, middle, high = np.quantile(taus, [0.025, 0.5, 0.975])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def plot_agreement(judged: Sequence[tuple[Agreement, Row]], path: Path) -> None:
    """Draw tau against the time of a training, each proxy with its interval; needs kaleido."""
    shown = [(rank, row) for rank, row in judged if rank.tau is not None and row.seconds]
    taus = [rank.tau or 0.0 for rank, _ in shown]
    above = [(rank.high or 0.0) - tau for (rank, _), tau in zip(shown, taus, strict=True)]
    below = [tau - (rank.low or 0.0) for (rank, _), tau in zip(shown, taus, strict=True)]

    points = go.Scatter(
        x=[statistics.fmean(row.seconds) for _, row in shown],
        y=taus,
        text=[row.name for _, row in shown],
        mode="markers+text",
        textposition="middle right",
        error_y={"type": "data", "array": above, "arrayminus": below, "thickness": 0.5, "width": 0},
    )
    margin = {"t": 20, "r": 90}  # names stand to the right of their points
    layout = {"template": "plotly_white", "width": 900, "height": 560, "margin": margin}
    figure = go.Figure(points, layout=layout)

    # Names may reach past the axes.
    figure.update_traces(cliponaxis=False)
    figure.update_xaxes(
        type="log",
        title="seconds a training, one CPU thread, mean over networks",
        tickvals=[2, 5, 10, 20, 50],
    )
    figure.update_yaxes(title="Kendall's tau with long training")
    figure.write_image(path)


def main() -> None:
    options = _parse_arguments()
    folders = {"train": options.train, "val": options.val}
    study = Study(folders, options.parent_weights, options.results)

    for name in () if options.table else options.variants:
        if (TRUTHS | VARIANTS)[name].needs_parent and study.weights is None:
            print(f"{name} is left out: it needs --parent-weights")
        elif options.clock and name in VARIANTS:
            study.clock(name)
        elif not options.clock:
            study.train(name, options.workers, set(options.only))

    judged = judge_rows(study, options.variants)
    print("\n".join(format_table(study, judged)))
    if options.plot:
        plot_agreement(judged, options.plot)


def _parse_arguments() -> argparse.Namespace:
    known = TRUTHS | VARIANTS
    parser = make_parser(__doc__, results="proxy.jsonl")
    parser.add_argument("variants", nargs="*", help=f"by default all: {', '.join(known)}")
    parser.add_argument("--train", required=True, help="folder of training photographs")
    parser.add_argument("--val", required=True, help="folder of validation photographs")
    parser.add_argument(
        "--parent-weights", help="SPAN's released checkpoint; without it variants are left out"
    )
    parser.add_argument("--only", nargs="*", default=[], help="names of networks")
    parser.add_argument(
        "--clock", action="store_true", help="read how long trainings take, and train nothing"
    )
    parser.add_argument(
        "--table", action="store_true", help="print the table of what is there, and train nothing"
    )
    parser.add_argument(
        "--plot", type=Path, help="also draw tau against seconds into this file; needs kaleido"
    )
    parser.add_argument("--workers", type=int, default=num_cores())

    options = parser.parse_args()
    options.variants = pick_names(parser, options.variants, known, "variant")
    return options


if __name__ == "__main__":
    main()
