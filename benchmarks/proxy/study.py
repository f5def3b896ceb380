"""The study of proxies: networks, trainings by a search's own parts, and their results file."""

import functools
import math
import random
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.proxy.variants import PARENT, TRUTHS, VARIANTS, Variant, make_evaluator
from benchmarks.shared.lines import Line, append_line, read_lines
from nas.analysis.ladder import RUNGS, rung_spec
from nas.analysis.trust import Agreement, noise
from nas.commands.search import compose_search
from nas.commands.trust import THROUGH
from nas.data.roles import open_roles
from nas.measure.cost import summed_cost
from nas.record import Quality
from nas.search.backends.training import gather_settings
from nas.search.config import SearchConfig
from nas.search.engines.base import Placement, Result, Task
from nas.search.engines.local import LocalEngine
from nas.search.engines.tasks import run_tasks, started
from nas.system.files.owned_folder import OwnedFolder
from nas.train.trainer import TrainingError
from search_spaces.chooser import RandomChooser
from search_spaces.published import published
from search_spaces.spec import ArchSpec

# Parameters from which Muon's 0.005 suits better: 28x6 gains 0.04 dB by it, 20x4 loses 0.03.
MIN_PARAMS_LOW_RATE = 93_000
NUM_DRAWN = 16
DRAW_SEED = 2026
NUM_TWICE = 6  # networks that the truths train with a second seed, the smallest at either rate
NUM_SEEDS = {"first": 3}  # of all networks; of the others 1
NUM_LADDER_SEEDS = {"brief": 5}  # of the ladder; of the others 3
CLOCK_STEPS = (20, 60)  # of the trainings by which seconds are read
CLOCK_EVERY = 3  # drawn network by size
TRAINING_KEYS = ("psnr_db", "base_db", "fidelity", "train_seconds", "restarts")  # of a line
# A training that diverged ranks last.
FAILED = Quality(psnr_db=0.0, base_db=0.0, fidelity=0, train_seconds=0.0, restarts=0)


def list_networks() -> dict[str, ArchSpec]:
    """Return the ladder, then the drawn networks by arch_id; the same on each call."""
    networks = {rung: rung_spec(rung, 4) for rung in RUNGS}
    space = compose_search().space
    chooser = RandomChooser(random.Random(DRAW_SEED))
    arch_ids = {spec.arch_id for spec in networks.values()}
    while len(networks) < len(RUNGS) + NUM_DRAWN:
        spec = space.sample(chooser)
        if spec.arch_id not in arch_ids:
            arch_ids.add(spec.arch_id)
            networks[spec.arch_id] = spec
    return networks


def list_trainings(variant: str) -> Iterator[tuple[str, int]]:
    """Yield network and seed of each training of a variant, the dearest first."""
    specs = list_networks()
    drawn = [name for name in specs if name not in RUNGS]

    # A truth trains the networks that its rate suits, and a few of them again.
    if variant in TRUTHS:
        params = {name: summed_cost(specs[name])["params"] for name in drawn}
        has_low_rate = variant == "truth"
        rated = [name for name in drawn if (params[name] >= MIN_PARAMS_LOW_RATE) == has_low_rate]
        rated.sort(key=lambda name: -params[name])
        yield from ((name, 0) for name in (*reversed(RUNGS), *rated))
        yield from ((name, 1) for name in rated[-NUM_TWICE // 2 :])
        return

    for seed in range(NUM_LADDER_SEEDS.get(variant, 3)):
        yield from ((name, seed) for name in reversed(RUNGS))
    for seed in range(NUM_SEEDS.get(variant, 1)):
        yield from ((name, seed) for name in drawn)


class Study:
    """Photographs, the parent's weights, and the lines of the results file so far.

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
        """Return a search with a variant's proxy, and what its lines agree on."""
        if variant in self._composed:
            return self._composed[variant]

        overrides = ["data=folder", *(f"data.{role}={path}" for role, path in self.folders.items())]
        parent = [f"parent_weights={self.weights}"] if variant.needs_parent else []
        config = compose_search(*overrides, *variant.overrides, *parent)

        # A folder is known by its name: it lies elsewhere on another machine.
        setting = {role: Path(path).name for role, path in self.folders.items()} | {
            "proxy": asdict(config.training.proxy),
            "twist": variant.twist,
            "parent": PARENT if variant.needs_parent else None,
        }
        self._composed[variant] = config, setting
        return config, setting

    def list_lines(self, variant: Variant, column: str) -> list[Line]:
        """Return the lines under a variant's settings that have a column."""
        if variant.needs_parent and self.weights is None:
            return []
        _, setting = self.compose(variant)
        return [line for line in read_lines(self.results, setting) if column in line]

    def list_runs(self, variant: Variant) -> list[Line]:
        """Return the trainings of a variant: network, seed and the fields of Quality."""
        return self.list_lines(variant, "psnr_db")

    def add_line(self, name: str, setting: Mapping[str, Any], line: Line) -> None:
        """Add a line of a variant to the results file, and print it."""
        append_line(self.results, {"variant": name, **setting, **line})
        print(name, line, flush=True)

    def train(self, name: str, workers: int, only: set[str]) -> None:
        """Train what is missing of one variant.

        Args:
            only: names of networks; empty: all.
        """
        variant = (TRUTHS | VARIANTS)[name]
        specs = list_networks()
        done = {(line["network"], line["seed"]) for line in self.list_runs(variant)}
        tasks = [
            Task(key=f"{network} {seed}", method="train", args=(specs[network], seed, None))
            for network, seed in list_trainings(name)
            if (network, seed) not in done and (not only or network in only)
        ]

        config, setting = self.compose(variant)
        for result in train_tasks(config, variant.twist, tasks, workers):
            network, seed = result.task.key.split()
            self.add_line(
                name, setting, {"network": network, "seed": int(seed), **pick_quality(result)}
            )

    def clock(self, name: str) -> None:
        """Read how long trainings of one variant take, by short ones.

        Two lengths give the seconds of a start, and what each step adds.
        """
        variant = VARIANTS[name]
        if any(self.list_lines(variant, "clocked")):
            return

        # Some of the drawn networks, over the whole range of sizes.
        specs = list_networks()
        drawn = [network for network in specs if network not in RUNGS]
        drawn.sort(key=lambda network: summed_cost(specs[network])["params"])
        tasks = [
            Task(key=network, method="train", args=(specs[network], 0, None))
            for network in drawn[CLOCK_EVERY // 2 :: CLOCK_EVERY]
        ]

        config, setting = self.compose(variant)
        seconds = []
        for steps in CLOCK_STEPS:
            results = train_tasks(_replace_steps(config, steps), variant.twist, tasks, workers=1)
            seconds.append([result.value.train_seconds for result in results])

        # A line through both lengths, read at the variant's own.
        first, last = CLOCK_STEPS
        share = (config.training.proxy.steps - first) / (last - first)
        clocked = [low + (high - low) * share for low, high in zip(*seconds, strict=True)]
        self.add_line(name, setting, {"clocked": [round(value, 2) for value in clocked]})

    def compute_truth(self) -> dict[str, float]:
        """Return the best mean PSNR in dB of each network in long trainings, over their rates."""
        truth: dict[str, float] = {}
        for variant in TRUTHS.values():
            for network, values in group_by_network(self.list_runs(variant)).items():
                truth[network] = max(truth.get(network, -math.inf), statistics.fmean(values))
        return truth

    def estimate_truth_noise(self) -> float | None:
        """Return the deviation of one long training over seeds, in dB; None: none was repeated."""
        runs = {
            f"{name} {network}": values
            for name, variant in TRUTHS.items()
            for network, values in group_by_network(self.list_runs(variant)).items()
        }
        estimate = noise(runs, fidelity=0)
        return estimate.std_db if estimate else None


def _replace_steps(config: SearchConfig, steps: int) -> SearchConfig:
    """Return a search whose trainings take other numbers of steps."""
    proxy = replace(config.training.proxy, steps=steps)
    return replace(config, training=replace(config.training, proxy=proxy))


def train_tasks(
    config: SearchConfig, twist: str, tasks: Sequence[Task], workers: int
) -> Iterator[Result]:
    """Yield results of trainings by a search's own evaluator, each worker on one thread.

    Args:
        twist: of the variant, or "".

    Raises:
        SystemExit: a training failed otherwise than by diverging.
    """
    if not tasks:
        return

    training = config.training
    roles = open_roles(training.data, scale=4)
    placement = Placement(num_workers=workers, num_per_host=workers)
    with OwnedFolder() as run:
        settings = gather_settings(
            replace(training, fidelity=THROUGH),
            config.reading,
            None,
            roles,
            run=run,
            placement=placement,
            device=torch.device("cpu"),
            seed=0,
            baseline=published("span"),
        )
        assert settings.shared
        make = functools.partial(make_evaluator, settings, twist)
        with settings.shared, started(LocalEngine(), make, placement) as engine:
            for result in run_tasks(engine, tasks):
                if result.error and not result.error.startswith(TrainingError.__name__):
                    raise SystemExit(f"{result.task.key}: {result.error}")
                yield result


def pick_quality(result: Result) -> Line:
    """Return what a line of the results keeps of a training; one that diverged ranks last."""
    quality = asdict(result.value or FAILED)
    return {key: quality[key] for key in TRAINING_KEYS}


def format_agreement(rank: Agreement) -> str:
    """Return tau with its 95 % interval; "-" where too few networks were ranked."""
    return "-" if rank.tau is None else f"{rank.tau:.2f} ({rank.low:.2f} to {rank.high:.2f})"


def group_by_network(runs: Sequence[Line]) -> dict[str, list[float]]:
    """Return the PSNR of every training, by network."""
    values: dict[str, list[float]] = {}
    for run in runs:
        values.setdefault(run["network"], []).append(run["psnr_db"])
    return values
