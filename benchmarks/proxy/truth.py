"""How do networks rank after a long training? The truth that proxies are judged by.

    nice -n 19 python benchmarks/proxy/truth.py --shared ../shared [NETWORK ...]
    python benchmarks/proxy/truth.py --shared ../shared --table

The networks are the ladder, the 16 that proxy.py draws, of each kind of block in space=esr one
member of about 35,000 parameters, and SPANF, SPANV2, PDS and RFDN_SPAN as published. They are
trained over the bicubic base for 40,000 steps on BSDS200 (what shows a scene of the other sets is
dropped), and read eight times on Set5, Set14 and BSD100. Six of them are trained with a second
seed. One process trains on one thread.

The rates are those of `RATES`. They were chosen once, by `--rates`: three networks of different
size, 8,000 steps at each of three rates.

Each training appends one line to the results file; what stands there is not trained again. A
training that is stopped goes on from its last reading, which lies in --checkpoints. The table holds
PSNR in dB at the end, and on Set14 after a tenth of the steps.
"""

import argparse
import functools
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from torch import nn

from benchmarks.proxy import study as proxy_study
from benchmarks.proxy.families import list_families, open_space, pick_families
from benchmarks.shared.arguments import make_parser, pick_names
from benchmarks.shared.lines import Line, append_line, read_lines
from benchmarks.shared.tables import format_head, format_row
from nas.commands.search import compose_search
from nas.data.config import DataConfig
from nas.data.patches import PatchStore
from nas.data.roles import open_roles
from nas.data.sets import ImageSet
from nas.measure.cost import summed_cost
from nas.measure.quality import mean_db, per_image
from nas.system.files.drafts import replaced
from nas.system.files.user_cache import user_cache
from nas.system.seeds import derived_seed
from nas.train.proxy import OverBase, ProxyConfig, start_proxy
from nas.train.trainer import TrainingError
from search_spaces.published import published
from search_spaces.spec import ArchSpec

STEPS = 40_000  # fifty times a brief training
READINGS = tuple(STEPS * share // 1000 for share in (20, 50, 100, 200, 350, 500, 750, 1000))
TENTH = READINGS.index(STEPS // 10)
RATES = {"muon_lr": 0.005, "lr": 5e-4}  # peak rates of Muon and AdamW; see --rates
TRIED = (0.0025, 0.005, 0.01)  # Muon's rates; AdamW's is a tenth of them
RATED = ("12x1", "20x4", "28x6")  # networks by which rates were chosen
RATE_STEPS = 8_000
FAMILY_PARAMS = 35_000  # that members of all families are near to
PUBLISHED = ("spanf", "spanv2", "pds", "rfdn_span")
TWICE = ("12x1", "20x4", "28x6", "rfdb", "safm", "acb")  # trained with a second seed
TEST_SETS = ("Set5", "Set14", "BSD100")
TITLES = ("network", "parameters", "seed", *TEST_SETS, "at a tenth: Set14", "minutes")
CALMER = 0.5  # times the rates, after a training that diverged
DEVICE = torch.device("cpu")


def list_names() -> list[str]:
    """Return the names of all networks, in the order in which they are trained."""
    return [*proxy_study.list_networks(), *list_families(), *PUBLISHED]


@functools.cache
def list_networks() -> dict[str, ArchSpec]:
    """Return every network by its name, in the order of `list_names`."""
    families = pick_families(open_space(), "params", FAMILY_PARAMS)
    released = {name: published(name) for name in PUBLISHED}
    return proxy_study.list_networks() | families | released


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One line of the results: a network, a seed, how long, and the peak rates."""

    network: str
    seed: int
    steps: int
    muon_lr: float
    lr: float

    @property
    def setting(self) -> Line:
        """The keys and values that a line of this training has."""
        # The arch_id too: a name could come to mean another network.
        return asdict(self) | {"arch_id": list_networks()[self.network].arch_id}

    @property
    def proxy(self) -> ProxyConfig:
        """The default proxy, for as many steps, at these rates."""
        brief: ProxyConfig = compose_search("proxy=brief").training.proxy
        rates = replace(brief.optimizer, muon_lr=self.muon_lr, lr=self.lr)
        return replace(brief, steps=self.steps, optimizer=rates)

    @property
    def readings(self) -> tuple[int, ...]:
        """The steps at which it is read, as far along as in a training of full length."""
        return tuple(step * self.steps // STEPS for step in READINGS)


def list_trainings(names: Sequence[str]) -> Iterator[Training]:
    """Yield the trainings of the truth: first every network once, then some again."""
    for name in names:
        yield Training(network=name, seed=0, steps=STEPS, **RATES)
    for name in names:
        if name in TWICE:
            yield Training(network=name, seed=1, steps=STEPS, **RATES)


def list_rate_trainings() -> Iterator[Training]:
    """Yield the short trainings by which the rates were chosen."""
    for name in RATED:
        for rate in TRIED:
            yield Training(network=name, seed=0, steps=RATE_STEPS, muon_lr=rate, lr=rate / 10)


def open_sets(shared: Path) -> tuple[ImageSet, dict[str, ImageSet]]:
    """Return the training images, without scenes of the test sets, and each test set by name."""
    folders = [str(shared / "data" / name) for name in TEST_SETS]
    base: DataConfig = compose_search("data=folder").training.data
    # The test sets stand as val: what shows one of their scenes is dropped from train.
    config = replace(base, train=str(shared / "data" / "BSDS200"), val=folders)
    train = open_roles(config, scale=4, roles=("train", "val"), progress=False).need("train")
    return train, open_judged(shared)


def open_judged(shared: Path) -> dict[str, ImageSet]:
    """Return each test set by its name."""
    base: DataConfig = compose_search("data=folder").training.data
    judged = {}
    for name in TEST_SETS:
        config = replace(base, val=str(shared / "data" / name))
        judged[name] = open_roles(config, scale=4, roles=("val",), progress=False).need("val")
    return judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a training is.

    Attributes:
        attempt: how many trainings before this one diverged.
        rate: multiplies both learning rates.
        curve: steps and PSNR in dB by set, at each reading.
        trainer: the state of the trainer; empty: it has not begun.
    """

    attempt: int = 0
    rate: float = 1.0
    seconds: float = 0.0
    curve: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    trainer: dict[str, Any] = field(default_factory=dict)


class Study:
    """What trains the networks that the results file lacks.

    Args:
        results: the file of lines.
        checkpoints: a folder in which trainings that were stopped go on.
    """

    def __init__(self, shared: Path, results: Path, checkpoints: Path) -> None:
        self.results, self.checkpoints = results, checkpoints
        train, self.judged = open_sets(shared)
        self.patches = PatchStore(
            train, seed=derived_seed(0, "patches"), memory_mib=8192, cache=None, progress=False
        )

    def run(self, training: Training) -> Line:
        """Train one network, or go on with it, append its line and return it.

        Raises:
            TrainingError: it diverged as often as the proxy allows.
        """
        done = read_lines(self.results, training.setting)
        if done:
            return done[0]

        self.checkpoints.mkdir(parents=True, exist_ok=True)
        name = f"{training.network}_{training.seed}_{training.steps}_{training.muon_lr:g}.pt"
        path = self.checkpoints / name

        # What diverges begins again, at lower rates and with another start.
        while True:
            try:
                progress = self._train_on(training, path)
                break
            except TrainingError as error:
                kept = read_progress(path)
                if kept.attempt == training.proxy.max_restarts:
                    raise
                print(f"{training.network}: {error}; again at half the rates", flush=True)
                write_progress(path, Progress(attempt=kept.attempt + 1, rate=kept.rate * CALMER))

        curves = {name: [psnr_db[name] for _, psnr_db in progress.curve] for name in self.judged}
        line = training.setting | {
            "readings": [step for step, _ in progress.curve],
            "psnr_db": curves,
            "restarts": progress.attempt,
            "train_seconds": round(progress.seconds, 1),
        }
        append_line(self.results, line)
        path.unlink(missing_ok=True)
        return line

    def _train_on(self, training: Training, path: Path) -> Progress:
        """Train from reading to reading, writing a checkpoint at each; return how it went."""
        progress = read_progress(path)
        trainer = start_proxy(
            list_networks()[training.network],
            training.proxy,
            self.patches,
            seed=derived_seed(0, "truth", training.network, training.seed, progress.attempt),
            device=DEVICE,
            rate=progress.rate,
        )
        if progress.trainer:
            trainer.restore(progress.trainer)

        for stop in training.readings:
            if trainer.done >= stop:
                continue
            start = time.perf_counter()
            trainer.run(stop, tell=lambda _: None, give_way=lambda: None)

            upscale = OverBase(trainer.averaged())
            psnr_db = read_psnr(upscale, self.judged)
            if not all(map(math.isfinite, psnr_db.values())):
                raise TrainingError("diverged", f"PSNR is {psnr_db}")

            progress = replace(
                progress,
                curve=[*progress.curve, (stop, psnr_db)],
                trainer=trainer.state(),
                seconds=progress.seconds + time.perf_counter() - start,
            )
            write_progress(path, progress)
            print(training.network, training.seed, stop, psnr_db, flush=True)
        return progress


def write_progress(path: Path, progress: Progress) -> None:
    """Write how far a training is, whole or not at all."""
    with replaced(path, path.with_suffix(".partial")) as draft:
        torch.save({one.name: getattr(progress, one.name) for one in fields(Progress)}, draft)


def read_progress(path: Path) -> Progress:
    """Read how far a training is; one without a file has not begun."""
    return Progress(**torch.load(path, weights_only=True)) if path.exists() else Progress()


def read_psnr(upscale: nn.Module, judged: Mapping[str, ImageSet]) -> dict[str, float]:
    """Return the mean PSNR of a network in dB on each set."""
    return {name: mean_db(per_image(upscale, images, DEVICE)) for name, images in judged.items()}


def format_table(lines: Sequence[Line]) -> Iterator[str]:
    """Yield a Markdown table of the long ends, the best on Set14 first."""
    yield from format_head(TITLES)
    for line in sorted(lines, key=lambda line: -line["psnr_db"]["Set14"][-1]):
        params = summed_cost(list_networks()[line["network"]])["params"]
        ends = [f"{line['psnr_db'][name][-1]:.3f}" for name in TEST_SETS]
        at_tenth = f"{line['psnr_db']['Set14'][TENTH]:.3f}"
        minutes = f"{line['train_seconds'] / 60:.0f}"
        yield format_row([line["network"], f"{params:,}", line["seed"], *ends, at_tenth, minutes])


def main() -> None:
    options = _parse_arguments()
    # Beside a search, at the lowest priority: one core is what may be taken.
    torch.set_num_threads(1)
    trainings = list(list_rate_trainings() if options.rates else list_trainings(options.networks))
    if not options.table:
        study = Study(options.shared, options.results, options.checkpoints)
        for training in trainings:
            study.run(training)

    lines = [
        line for training in trainings for line in read_lines(options.results, training.setting)
    ]
    print("\n".join(format_table(lines)))


def _parse_arguments() -> argparse.Namespace:
    parser = make_parser(__doc__, results="truth.jsonl")
    parser.add_argument("networks", nargs="*", help=f"by default all: {', '.join(list_names())}")
    parser.add_argument(
        "--shared", type=Path, required=True, help="folder that holds data/BSDS200, data/Set5, ..."
    )
    parser.add_argument(
        "--rates", action="store_true", help="make the trainings by which the rates were chosen"
    )
    parser.add_argument(
        "--table", action="store_true", help="print the table of what is there, and train nothing"
    )
    parser.add_argument(
        "--checkpoints", type=Path, default=user_cache("truth"), help="of what was stopped"
    )
    options = parser.parse_args()
    options.networks = pick_names(parser, options.networks, list_names(), "network")
    return options


if __name__ == "__main__":
    main()
