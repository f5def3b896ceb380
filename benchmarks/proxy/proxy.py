"""Which proxy can rank: networks trained briefly in several ways, against the same networks trained long.

    python benchmarks/proxy/proxy.py --train ../shared/data/BSDS200 --val ../shared/data/Set14 [VARIANT ...]
        [--parent-weights SPAN.pth] [--clock] [--plot proxy.svg]

The networks are the ladder and 16 members of space=span, drawn with a fixed seed; the ladder is trained with
three seeds, with five under `brief`, the others with one, under `first` with three. Each variant is a set of
overrides of `nas search`, and its trainings are a search's own. Lines are appended to the results file as
they come; what is there, under the same settings, is not trained again. Without names all variants are run.
With --clock nothing is trained to the end: how long a training takes is read on one thread, which wants a
quiet machine.

The table holds each variant's ladder and, over ladder and drawn networks, Kendall's tau-b of single trainings
(seed 0) with the long ones, with its 95 % interval (`nas.analysis.trust.agreement`). `seeds_2` and `seeds_3`
are means of `first` over seeds, `rates` is the best of its three rates for each network, and `again` is how a
second long training would agree with the first by the noise of its seeds: none can be expected to agree
better.
"""

import argparse
import functools
import math
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import plotly.graph_objects as go
from scipy.stats import kendalltau

from benchmarks.proxy.variants import PARENT, TRUTHS, VARIANTS, Variant, evaluator
from benchmarks.shared.lines import Line, append, read
from benchmarks.shared.paths import RESULTS
from nas.analysis.ladder import RUNGS, LadderRun, judge, rung_spec
from nas.analysis.trust import Agreement, agreement, noise
from nas.commands.search import compose_search
from nas.data.roles import open_roles
from nas.measure.cost import summed_cost
from nas.record import Quality
from nas.search.config import SearchConfig
from nas.search.engines.base import Placement, Task
from nas.search.engines.local import LocalEngine
from nas.search.engines.tasks import run_tasks, started
from nas.search.evaluation.settings import EvaluatorSettings
from nas.system.cores import num_cores
from nas.train.proxy import TrainingError
from search_spaces.chooser import RandomChooser
from search_spaces.published import published
from search_spaces.spec import ArchSpec

LARGE = (
    93_000  # parameters from which 0.005 suits better: 28x6 gains 0.04 dB by it, 20x4 loses 0.03
)
NUM_DRAWN = 16
DRAWN_WITH = 2026  # seed
TWICE = 6  # networks that the truths train with a second seed, the smallest at either rate
REPEATED = {"first": 3}  # seeds of all networks, not of the ladder alone
LADDER_SEEDS = {"brief": 5}  # else 3
RATES = ("first", "muon_low", "muon_high")
SHORT = (20, 60)  # steps of the trainings by which seconds are read
CLOCKED = 3  # every third network by size
DRAWS = 1000
TRAINING = ("psnr_db", "base_db", "fidelity", "train_seconds", "restarts")  # of a line
FAILED = Quality(psnr_db=0.0, base_db=0.0, fidelity=0, train_seconds=0.0, restarts=0)  # ranks last


def networks() -> dict[str, ArchSpec]:
    """The ladder, largest last, and the drawn ones by arch_id."""
    found = {rung: rung_spec(rung, 4) for rung in RUNGS}
    space = compose_search().space
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
        size = {
            name: summed_cost(spec)["params"] for name, spec in specs.items() if name not in RUNGS
        }
        rated = [name for name in size if (size[name] >= LARGE) == (variant == "truth")]
        rated.sort(key=lambda name: -size[name])
        yield from ((name, 0) for name in (*reversed(RUNGS), *rated))
        yield from ((name, 1) for name in rated[-TWICE // 2 :])
    else:
        yield from (
            (name, seed) for seed in range(LADDER_SEEDS.get(variant, 3)) for name in reversed(RUNGS)
        )
        drawn = [name for name in names if name not in RUNGS]
        yield from ((name, seed) for seed in range(REPEATED.get(variant, 1)) for name in drawn)


class Study:
    """Photographs, the parent's weights, and what was found so far.

    Args:
        folders: of photographs by role, train and val.
        weights: of the released SPAN, for the variants that have it as parent.
    """

    def __init__(self, folders: Mapping[str, str], weights: str | None, results: Path) -> None:
        self.folders = folders
        self.weights = weights
        self.results = results
        self._composed: dict[Variant, tuple[SearchConfig, dict[str, Any]]] = {}

    def compose(self, variant: Variant) -> tuple[SearchConfig, dict[str, Any]]:
        """A search with a variant's proxy, and what a line has to agree with to count for it."""
        if variant in self._composed:
            return self._composed[variant]
        given = ["data=folder", *(f"data.{role}={path}" for role, path in self.folders.items())]
        parent = [f"parent_weights={self.weights}"] if variant.needs_parent else []
        config = compose_search(*given, *variant.overrides, *parent)
        names = {role: Path(path).name for role, path in self.folders.items()}
        proxy = asdict(config.training.proxy)
        own = {"twist": variant.twist, "parent": PARENT if variant.needs_parent else None}
        self._composed[variant] = config, {**names, "proxy": proxy, **own}
        return self._composed[variant]

    def lines(self, variant: Variant, column: str) -> list[Line]:
        """The lines under a variant's settings that have a column."""
        if variant.needs_parent and self.weights is None:
            return []
        return [line for line in read(self.results, self.compose(variant)[1]) if column in line]

    def trainings(self, variant: Variant) -> list[Line]:
        """Each with its network, its seed and what `nas.record.Quality` says."""
        return self.lines(variant, "psnr_db")

    def append(self, name: str, setting: Mapping[str, Any], line: Line) -> None:
        append(self.results, {"variant": name, **setting, **line})
        print(name, line, flush=True)

    def train(self, name: str, workers: int, only: set[str]) -> None:
        """Train what is missing of one variant."""
        variant = (TRUTHS | VARIANTS)[name]
        done = {(line["network"], line["seed"]) for line in self.trainings(variant)}
        specs = networks()
        tasks = [
            Task(key=f"{network} {seed}", method="train", args=(specs[network], seed, None))
            for network, seed in wanted(name)
            if (network, seed) not in done and (not only or network in only)
        ]
        config, setting = self.compose(variant)
        for result in evaluated(config, variant.twist, tasks, workers):
            network, seed = result.task.key.split()
            quality = asdict(result.value or FAILED)
            line = {
                "network": network,
                "seed": int(seed),
                **{key: quality[key] for key in TRAINING},
            }
            self.append(name, setting, line)

    def clock(self, name: str) -> None:
        """Read how long trainings of one variant take, by short ones: a start, and what each step adds."""
        variant = VARIANTS[name]
        if any(self.lines(variant, "clocked")):
            return
        config, setting = self.compose(variant)
        specs = networks()
        drawn = sorted(
            (n for n in specs if n not in RUNGS), key=lambda n: summed_cost(specs[n])["params"]
        )
        clocked = drawn[CLOCKED // 2 :: CLOCKED]
        tasks = [Task(key=n, method="train", args=(specs[n], 0, None)) for n in clocked]
        first, second = (
            [
                result.value.train_seconds
                for result in evaluated(_with_steps(config, steps), variant.twist, tasks, 1)
            ]
            for steps in SHORT
        )
        steps = config.training.proxy.steps
        seconds = [
            low + (high - low) / (SHORT[1] - SHORT[0]) * (steps - SHORT[0])
            for low, high in zip(first, second, strict=True)
        ]
        self.append(name, setting, {"clocked": [round(value, 2) for value in seconds]})

    def truth(self) -> dict[str, float]:
        """The best mean PSNR that each network reached in long trainings, over their rates."""
        found: dict[str, float] = {}
        for variant in TRUTHS.values():
            for network, values in _by_network(self.trainings(variant)).items():
                found[network] = max(found.get(network, -math.inf), statistics.fmean(values))
        return found

    def truth_noise(self) -> float | None:
        """The deviation of one long training over seeds, in dB."""
        runs = {
            f"{name} {network}": values
            for name, variant in TRUTHS.items()
            for network, values in _by_network(self.trainings(variant)).items()
        }
        found = noise(runs, fidelity=0)
        return found.std_db if found else None


def _with_steps(config: SearchConfig, steps: int) -> SearchConfig:
    """Return a search whose trainings take other numbers of steps."""
    proxy = replace(config.training.proxy, steps=steps)
    return replace(config, training=replace(config.training, proxy=proxy))


def evaluated(config: SearchConfig, twist: str, tasks: list[Task], workers: int) -> Iterator[Any]:
    """Results of tasks, each worker on one thread; raises SystemExit where one fails but by diverging."""
    if not tasks:
        return
    training = config.training
    roles = open_roles(training.data, scale=4)
    with tempfile.TemporaryDirectory() as run:
        settings = EvaluatorSettings(
            run=Path(run),
            sets={"train": roles.need("train"), "val": roles.need("val")},
            memory_mib=8192,
            cache=None,
            scale=4,
            challenge=config.goals.challenge,
            proxy=training.proxy,
            fidelities=(training.proxy.steps,),
            latency=config.reading.latency,
            limits={},
            device="cpu",
            seed=0,
            baseline=published("span"),
            replay={},
            parent=training.parent,
        )
        make = functools.partial(evaluator, settings, twist)
        placement = Placement(num_workers=workers, num_per_host=workers)
        with started(LocalEngine(), make, placement) as engine:
            for result in run_tasks(engine, tasks):
                if result.error and not result.error.startswith(TrainingError.__name__):
                    raise SystemExit(f"{result.task.key}: {result.error}")
                yield result


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


def rows(study: Study, names: Sequence[str]) -> Iterator[Row]:
    """The variants with all their networks, and what can be made of several."""
    whole = set(networks())
    found: dict[str, list[Line]] = {}
    for name in names:
        if name not in VARIANTS:
            continue
        variant = VARIANTS[name]
        runs = found[name] = study.trainings(variant)
        first = {run["network"]: run["psnr_db"] for run in runs if run["seed"] == 0}
        if set(RUNGS) <= first.keys():
            clocked = next(iter(study.lines(variant, "clocked")), {"clocked": []})["clocked"]
            ladder = [run for run in runs if run["network"] in RUNGS]
            yield Row(
                name=name,
                what=variant.what,
                psnr_db=first if whole <= first.keys() else {},
                ladder=ladder,
                steps=ladder[0]["fidelity"],
                seconds=clocked,
            )
    for count in (2, 3):
        means = _means([run for run in found.get("first", []) if run["seed"] < count], count)
        if whole <= means.keys():
            yield Row(name=f"seeds_{count}", what=f"first, mean of {count} seeds", psnr_db=means)
    rated = [_means([run for run in found.get(name, []) if run["seed"] == 0], 1) for name in RATES]
    if all(whole <= one.keys() for one in rated):
        best = {network: max(one[network] for one in rated) for network in whole}
        yield Row(
            name="rates", what="best of Muon 0.005, 0.01 and 0.02 for each network", psnr_db=best
        )


def _by_network(runs: Sequence[Line]) -> dict[str, list[float]]:
    """PSNR of every training, by network."""
    values: dict[str, list[float]] = {}
    for run in runs:
        values.setdefault(run["network"], []).append(run["psnr_db"])
    return values


def _means(runs: Sequence[Line], count: int) -> dict[str, float]:
    """Mean PSNR of the networks with so many trainings."""
    found = _by_network(runs)
    return {
        name: statistics.fmean(values) for name, values in found.items() if len(values) == count
    }


def judge_all(study: Study, names: Sequence[str]) -> list[tuple[Agreement, Row]]:
    """The proxies with their rank agreement, the best first; those that cannot be judged last."""
    long = study.truth()
    found = [(_agreement(row.psnr_db, long), row) for row in rows(study, names)]
    return sorted(found, key=lambda one: -(-1 if one[0].tau is None else one[0].tau))


def plot(judged: Sequence[tuple[Agreement, Row]], path: Path) -> None:
    """Rank agreement against the time of a training, each proxy with its interval; needs kaleido."""
    shown = [(found, row) for found, row in judged if found.tau is not None and row.seconds]
    seconds = [statistics.fmean(row.seconds) for _, row in shown]
    taus = [found.tau or 0.0 for found, _ in shown]
    figure = go.Figure(
        go.Scatter(
            x=seconds,
            y=taus,
            text=[row.name for _, row in shown],
            mode="markers+text",
            textposition="middle right",
            error_y={
                "type": "data",
                "array": [
                    (found.high or 0.0) - tau for (found, _), tau in zip(shown, taus, strict=True)
                ],
                "arrayminus": [
                    tau - (found.low or 0.0) for (found, _), tau in zip(shown, taus, strict=True)
                ],
                "thickness": 0.5,
                "width": 0,
            },
        ),
        layout={
            "template": "plotly_white",
            "width": 900,
            "height": 560,
            "margin": {"t": 20, "r": 90},
        },
    )
    figure.update_traces(cliponaxis=False)
    figure.update_xaxes(
        type="log",
        title="seconds a training, one CPU thread, mean over networks",
        tickvals=[2, 5, 10, 20, 50],
    )
    figure.update_yaxes(title="Kendall's tau with long training")
    figure.write_image(path)


def table(study: Study, judged: Sequence[tuple[Agreement, Row]]) -> Iterator[str]:
    """A Markdown table: the proxies, the best rank agreement first."""
    yield (
        f"| proxy | | steps | {' | '.join(RUNGS)} | in order | spread dB | seed dev. dB | passes "
        "| tau (95 %) | s a training | tau a minute |"
    )
    yield "|" + "---|" * (10 + len(RUNGS))
    for found, row in judged:
        words = (
            "-" if found.tau is None else f"{found.tau:.2f} ({found.low:.2f} to {found.high:.2f})"
        )
        mean = statistics.fmean(row.seconds) if row.seconds else None
        timing = f"{mean:.0f} ({max(row.seconds):.0f})" if mean else "-"
        rate = f"{found.tau * 60 / mean:.1f}" if mean and found.tau is not None else "-"
        yield f"| {row.name} | {row.what} | {_ladder(row)} | {words} | {timing} | {rate} |"
    if (std := study.truth_noise()) is not None:
        yield f"| again | another long training | {' | ' * 8} | {_again(study.truth(), std)} | | |"


def _ladder(row: Row) -> str:
    """The cells on a proxy's ladder."""
    if not row.ladder:
        return " | ".join(" " * (5 + len(RUNGS)))
    keys = ("seed", "psnr_db", "base_db", "fidelity", "train_seconds")
    runs = [LadderRun(rung=run["network"], **{key: run[key] for key in keys}) for run in row.ladder]
    verdict = judge(runs, 0.04)
    means = [statistics.fmean(run.psnr_db for run in runs if run.rung == rung) for rung in RUNGS]
    deviation = "-" if verdict.seed_std_db is None else f"{verdict.seed_std_db:.3f}"
    cells = [
        str(row.steps),
        *(f"{mean:.3f}" for mean in means),
        f"{sum(verdict.orders)} of {len(verdict.orders)}",
        f"{verdict.spread_db:.3f}",
        deviation,
        "yes" if verdict.passes else "no",
    ]
    return " | ".join(cells)


def _agreement(found: Mapping[str, float], long: Mapping[str, float]) -> Agreement:
    pairs = [(psnr_db, long[network]) for network, psnr_db in found.items() if network in long]
    return agreement(pairs, lower=0, upper=1)


def _again(long: Mapping[str, float], std: float) -> str:
    """Median and 95 % range of tau between the truth and itself with the noise of one more training."""
    rng = np.random.default_rng(0)
    values = np.array(list(long.values()))
    again = values + rng.normal(0, std, (DRAWS, len(values)))
    taus = [kendalltau(values, drawn).statistic for drawn in again]
    low, middle, high = np.quantile(taus, [0.025, 0.5, 0.975])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    known = TRUTHS | VARIANTS
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("variants", nargs="*", default=list(known), help=", ".join(known))
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
    parser.add_argument("--results", type=Path, default=RESULTS / "proxy.jsonl")
    options = parser.parse_args()
    study = Study(
        {"train": options.train, "val": options.val}, options.parent_weights, options.results
    )
    for name in () if options.table else options.variants:
        if name not in known:
            parser.error(f"{name} is no variant; known: {', '.join(known)}")
        if known[name].needs_parent and study.weights is None:
            print(f"{name} is left out: it needs --parent-weights")
        elif options.clock and name in VARIANTS:
            study.clock(name)
        elif not options.clock:
            study.train(name, options.workers, set(options.only))
    judged = judge_all(study, options.variants)
    print("\n".join(table(study, judged)))
    if options.plot:
        plot(judged, options.plot)


if __name__ == "__main__":
    main()
