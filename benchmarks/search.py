"""Search methods against each other: trainings until a share of the front's hypervolume is found.

    python benchmarks/search.py [METHOD ...] [--landscape span_like] [--seeds 10] [--noise 0.02]

A training reveals PSNR (with --noise, its deviation in dB); a reading reveals the runtime, with 1 % of noise,
and costs no training. Methods whose name ends in `_known` know every runtime beforehand. Lines are appended
to the results file as they come, and what is there is not run again. The table holds medians and quartiles
over the seeds, and the ratio of the best Optuna sampler's trainings to the product's with its bootstrap
interval.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from comparison import Line, parser, quartiles, ratio, run_missing
from landscapes import LANDSCAPES, Landscape
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from nas.search.sampling.aim import Aim
from nas.search.sampling.pool import Candidate, Pool
from nas.search.sampling.proposer import Proposer, Seen
from nas.search.sampling.sampler import EXPECTED, ProposerSampler
from nas.search.sampling.stock import stock_sampler
from nas.search.screening import Screen

OBJECTIVES = ("psnr_gain_db", "runtime_ratio")
READING_NOISE = 0.01
SHARES = (0.9, 0.95, 0.98)
DEVIATIONS = 3.0  # of conf/sampler/cost_aware.yaml
STOCK = {
    "random": ("random", 0),
    "nsga2_50": ("nsga2", 50),
    "nsga2_20": ("nsga2", 20),
    "tpe": ("tpe", 0),
    "gp": ("gp", 0),
}
OURS = ("cost_aware", "cost_aware_known", "cost_aware_unscreened", "random_screened")
MOST = {"gp": 120}  # trainings after which a method is given up
GIVEN_UP = 400


class Run:
    """One search of one method: what it has seen, and how much of the front's hypervolume that is."""

    def __init__(self, landscape: Landscape, seed: int, noise: float) -> None:
        self.landscape = landscape
        self.rng = np.random.default_rng(seed)
        self.noise = noise
        self.whole = landscape.volume(landscape.everything())
        self.found: list[tuple[float, float]] = []
        self.reached: dict[float, int] = {}
        self.readings = 0

    def read(self, params: Mapping[str, int]) -> float:
        self.readings += 1
        return self.landscape.at(params)[1] * (1 + self.rng.normal(0, READING_NOISE))

    def train(self, params: Mapping[str, int]) -> float:
        self.found.append(self.landscape.at(params))
        share = self.landscape.volume(np.array(self.found)) / self.whole
        for wanted in SHARES:
            if share >= wanted:
                self.reached.setdefault(wanted, len(self.found))
        return self.found[-1][0] + self.rng.normal(0, self.noise)


def stock(run: Run, method: str, seed: int, most: int) -> int:
    """Search by a sampler of Optuna's; gives the number of duplicates."""
    kind, population = STOCK[method]
    space = run.landscape.space
    sampler: BaseSampler = stock_sampler(kind, space, population=population, startup=10, seed=seed)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    told: set[tuple[int, ...]] = set()
    duplicates = 0
    while len(run.found) < most and SHARES[-1] not in run.reached:
        trial = study.ask(space)
        duplicates += tuple(trial.params.values()) in told
        told.add(tuple(trial.params.values()))
        study.tell(trial, [run.train(trial.params), run.read(trial.params)])
    return duplicates


def ours(run: Run, method: str, seed: int, most: int) -> int:
    """Search by sampler=cost_aware, or at random with its screen."""
    landscape = run.landscape
    is_known, is_screened = method.endswith("_known"), not method.endswith("_unscreened")

    def describe(params: Mapping[str, int]) -> Candidate:
        costs = {"runtime_ratio": landscape.at(params)[1]} if is_known else {}
        return Candidate(name=",".join(map(str, params.values())), costs=costs)

    aim = Aim(goal="front", objectives=OBJECTIVES, limits={}, gate_db=0.0, floor_db=None, score=None)
    proposer = Proposer(Pool(landscape.space, describe, seed=seed), aim)
    study = optuna.create_study(directions=["maximize", "minimize"])
    seen: dict[int, Seen] = {}

    def look(trials: Sequence[FrozenTrial]) -> list[Seen]:
        return list(seen.values())

    while len(run.found) < most and SHARES[-1] not in run.reached:
        number = len(study.trials)
        startup = most if method == "random_screened" else 6
        study.sampler = ProposerSampler(proposer, look, startup=startup, seed=1000 * seed + number)
        trial = study.ask(landscape.space)
        runtime = landscape.at(trial.params)[1] if is_known else run.read(trial.params)
        costs = {"runtime_ratio": runtime}
        expected = trial.user_attrs.get(EXPECTED)
        if is_screened and expected:
            screen = Screen.of(proposer, list(seen.values()), expected, DEVIATIONS)
            if screen.reason(costs):
                seen[number] = Seen(
                    point=proposer.pool.point(trial.params), quality=None, costs=costs, number=number
                )
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                continue
        psnr = run.train(trial.params)
        seen[number] = Seen(
            point=proposer.pool.point(trial.params),
            quality=psnr,
            costs=costs,
            number=number,
            expected=tuple(expected) if expected else None,
        )
        study.tell(trial, [psnr, runtime])
    return 0


def search(method: str, seed: int, landscape: str, noise: float) -> Line:
    """One line of the results."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    run = Run(LANDSCAPES[landscape](), seed, noise)
    start = time.perf_counter()
    most = MOST.get(method, GIVEN_UP)
    duplicates = (stock if method in STOCK else ours)(run, method, seed, most)
    return {
        "landscape": landscape,
        "noise": noise,
        "method": method,
        "seed": seed,
        "reached": {str(share): count for share, count in run.reached.items()},
        "trainings": len(run.found),
        "readings": run.readings,
        "duplicates": duplicates,
        "seconds": time.perf_counter() - start,
    }


def counts(found: Sequence[Mapping[str, Any]], method: str, share: float) -> np.ndarray:
    """Trainings until a share, by seed; infinite where it was not reached."""
    return np.array(
        [line["reached"].get(str(share), np.inf) for line in found if line["method"] == method], dtype=float
    )


def table(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield (
        "| method | seeds | "
        + " | ".join(f"{share:.0%}" for share in SHARES)
        + " | duplicates | s a search |"
    )
    yield "|" + "---|" * (4 + len(SHARES))
    for method in (*STOCK, *OURS):
        mine = [line for line in found if line["method"] == method]
        if mine:
            cells = [quartiles(counts(found, method, share)) for share in SHARES]
            share = sum(line["duplicates"] for line in mine) / sum(line["trainings"] for line in mine)
            seconds = np.median([line["seconds"] for line in mine])
            yield f"| {method} | {len(mine)} | {' | '.join(cells)} | {share:.0%} | {seconds:.0f} |"


def ratios(found: Sequence[Mapping[str, Any]], share: float = 0.95) -> Iterator[str]:
    """The best Optuna sampler's trainings over ours, of medians, with the bootstrap 95 % interval."""
    stocks = {method: counts(found, method, share) for method in STOCK}
    stocks = {method: values for method, values in stocks.items() if len(values) and method != "random"}
    if not stocks:
        return
    best = min(stocks, key=lambda method: float(np.median(stocks[method])))
    for method in OURS:
        mine = counts(found, method, share)
        if len(mine):
            yield f"{method}: {best} takes {ratio(stocks[best], mine)} its trainings to {share:.0%}"


def main() -> None:
    asked = parser(__doc__, (*STOCK, *OURS), "search.jsonl")
    asked.add_argument("--landscape", default="span_like", choices=list(LANDSCAPES))
    asked.add_argument("--noise", type=float, default=0.0, help="deviation of a training's PSNR, dB")
    options = asked.parse_args()
    setting = {"landscape": options.landscape, "noise": options.noise}
    found = run_missing(search, options, setting, lambda line: print(line, flush=True))
    print("\n".join([*table(found), "", *ratios(found)]))


if __name__ == "__main__":
    main()
