"""Search methods against each other: trainings until a share of the front's hypervolume is found.

    python benchmarks/search.py [METHOD ...] [--landscape span_like] [--seeds 10] [--noise 0.02]

A training reveals PSNR (with --noise, its deviation in dB); a reading reveals the runtime, with 1 % of noise,
and costs no training. Methods whose name ends in `_known` know every runtime beforehand; botorch_known is
BoTorch's (benchmarks/rivals.py) and run only where it is named. Lines are appended to the results file as
they come, and what is there is not run again. The table holds medians and quartiles over the seeds, and the
ratio of the best Optuna sampler's trainings to the product's with its bootstrap interval.
"""

import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
from comparison import Line, parser, quartiles, ratios, run_missing
from landscapes import LANDSCAPES, Landscape
from nas.search.sampling.aim import Aim
from nas.search.sampling.pool import Candidate, Point, Pool
from nas.search.sampling.proposer import Choice, Proposer, Seen
from nas.search.sampling.sampler import EXPECTED, ProposerSampler
from nas.search.sampling.stock import stock_sampler
from nas.search.sampling.surrogate import Surrogate, fit
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState
from rivals import botorch_known, lacking

from nas.search.screening import Screen

OBJECTIVES = ("psnr_gain_db", "runtime_ratio")
READING_NOISE = 0.01
SHARES = (0.9, 0.95, 0.98)
RATED = 0.95
DEVIATIONS = 3.0  # of conf/sampler/cost_aware.yaml
STOCK = {
    "random": ("random", 0),
    "nsga2_50": ("nsga2", 50),
    "nsga2_20": ("nsga2", 20),
    "tpe": ("tpe", 0),
    "gp": ("gp", 0),
}
OURS = (
    "cost_aware",
    "cost_aware_known",
    "cost_aware_unscreened",  # these lack a part of cost_aware each: the screen,
    "cost_aware_repeats",  # the rule that nothing is trained twice,
    "random_screened",  # and the choice by what is expected: candidates at random, only screened
)
RIVALS = ("botorch_known",)
MOST = {"gp": 120, "botorch_known": 120}  # trainings after which a method is given up
GIVEN_UP = 400
MOST_READINGS = 3000  # after which too
STARTUP = 6  # of conf/sampler/cost_aware.yaml


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
        self.screened = 0  # candidates that were not trained

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


class Repeating(Proposer):
    """An ablation: what was trained may be proposed again, once the points to start with are known."""

    def _untried(
        self, seen: Sequence[Seen], trained: Sequence[Seen], waiting: list[Point]
    ) -> tuple[list[Point], list[Point]]:
        if len(trained) >= STARTUP:  # what was screened stays out, or it would be asked for ever
            seen = [one for one in seen if one.quality is None]
        return super()._untried(seen, trained, waiting)


class Drawn:
    """An ablation: candidates at random, with what the surrogate expects of them: they can be screened."""

    def __init__(self, proposer: Proposer) -> None:
        self.proposer = proposer
        self.pool = proposer.pool
        self._surrogate: tuple[int, Surrogate] | None = None  # and of how many trainings

    def propose(self, seen: Sequence[Seen], pending: Iterable[Point], *, startup: int, seed: int) -> Choice:
        pool, rng = self.pool, random.Random(seed)
        trained = [one for one in seen if one.quality is not None]
        tried = {one.point for one in seen}
        left = pool.candidates([])
        point = rng.choice(left)
        while point in tried:
            point = rng.choice(left)
        if len(trained) < startup:
            return Choice(point=point)
        if self._surrogate is None or self._surrogate[0] != len(trained):
            inputs = pool.encode([one.point for one in trained])
            self._surrogate = len(trained), fit(inputs, np.array([one.quality for one in trained]))
        surrogate = self._surrogate[1]
        mean, std = surrogate.predict(pool.encode([point]))
        return Choice(point=point, expected=(float(mean[0]), float(std[0]), surrogate.noise_std))


def rival(run: Run, method: str, seed: int, most: int) -> int:
    """Search by another library; gives the number of duplicates, none."""
    pool = candidates(run.landscape, seed, is_known=True)
    trained: dict[Point, float] = {}
    while len(trained) < most and SHARES[-1] not in run.reached:
        point = botorch_known(
            pool,
            list(trained),
            list(trained.values()),
            corner=run.landscape.corner,
            startup=STARTUP,
            seed=1000 * seed + len(trained),
        )
        trained[point] = run.train(pool.params(point))
    return 0


def candidates(landscape: Landscape, seed: int, *, is_known: bool) -> Pool:
    """A landscape's points, with their runtimes where these are known beforehand."""

    def describe(params: Mapping[str, int]) -> Candidate:
        costs = {"runtime_ratio": landscape.at(params)[1]} if is_known else {}
        return Candidate(name=",".join(map(str, params.values())), costs=costs)

    return Pool(landscape.space, describe, seed=seed)


def ours(run: Run, method: str, seed: int, most: int) -> int:
    """Search by sampler=cost_aware, or without a part of it; gives the number of duplicates."""
    landscape = run.landscape
    is_known, is_screened = method.endswith("_known"), not method.endswith("_unscreened")
    aim = Aim(goal="front", objectives=OBJECTIVES, limits={}, gate_db=0.0, floor_db=None, score=None)
    made = Repeating if method == "cost_aware_repeats" else Proposer
    proposer = made(candidates(landscape, seed, is_known=is_known), aim)
    chooser = Drawn(proposer) if method == "random_screened" else proposer
    study = optuna.create_study(directions=["maximize", "minimize"])
    seen: dict[int, Seen] = {}
    duplicates = 0

    def look(trials: Sequence[FrozenTrial]) -> list[Seen]:
        return list(seen.values())

    while len(run.found) < most and SHARES[-1] not in run.reached:
        number = len(seen)
        if number >= MOST_READINGS:
            break
        study.sampler = ProposerSampler(chooser, look, startup=STARTUP, seed=1000 * seed + number)
        trial = study.ask(landscape.space)
        point = proposer.pool.point(trial.params)
        runtime = landscape.at(trial.params)[1] if is_known else run.read(trial.params)
        # Not trial.user_attrs: a copy of what was there before it was sampled.
        expected = study._storage.get_trial(trial._trial_id).user_attrs.get(EXPECTED)
        one = Seen(point=point, quality=None, costs={"runtime_ratio": runtime}, number=number)
        if is_screened and expected:
            screen = Screen.of(proposer, list(seen.values()), expected, DEVIATIONS)
            if screen.reason(one.costs):
                run.screened += 1
                seen[number] = one
                study.tell(trial, state=TrialState.FAIL)
                continue
        duplicates += any(other.point == point and other.quality is not None for other in seen.values())
        psnr = run.train(trial.params)
        seen[number] = replace(one, quality=psnr, expected=tuple(expected) if expected else None)
        study.tell(trial, [psnr, runtime])
    return duplicates


def search(method: str, seed: int, landscape: str, noise: float) -> Line:
    """One line of the results."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    run = Run(LANDSCAPES[landscape](), seed, noise)
    start = time.perf_counter()
    most = MOST.get(method, GIVEN_UP)
    by = stock if method in STOCK else rival if method in RIVALS else ours
    duplicates = by(run, method, seed, most)
    return {
        "landscape": landscape,
        "noise": noise,
        "method": method,
        "seed": seed,
        "reached": {str(share): count for share, count in run.reached.items()},
        "trainings": len(run.found),
        "readings": run.readings,
        "screened": run.screened,
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
        + " | screened | duplicates | s a search |"
    )
    yield "|" + "---|" * (5 + len(SHARES))
    for method in (*STOCK, *OURS, *RIVALS):
        mine = [line for line in found if line["method"] == method]
        if mine:
            cells = [quartiles(counts(found, method, share)) for share in SHARES]
            share = sum(line["duplicates"] for line in mine) / sum(line["trainings"] for line in mine)
            screened, seconds = (
                np.median([line.get(name, 0) for line in mine]) for name in ("screened", "seconds")
            )
            rest = f"{screened:.0f} | {share:.0%} | {seconds:.0f}"
            yield f"| {method} | {len(mine)} | {' | '.join(cells)} | {rest} |"
    yield ""
    samplers = [method for method in STOCK if method != "random"]
    for best, method, times in ratios(lambda method: counts(found, method, RATED), samplers, OURS):
        yield f"{method}: {best} takes {times} its trainings to {RATED:.0%}"


def main() -> None:
    asked = parser(__doc__, (*STOCK, *OURS, *RIVALS), "search.jsonl", only_named=RIVALS)
    asked.add_argument("--landscape", default="span_like", choices=list(LANDSCAPES))
    asked.add_argument("--noise", type=float, default=0.0, help="deviation of a training's PSNR, dB")
    options = asked.parse_args()
    if lacks := lacking(options.methods):
        asked.error(lacks)
    setting = {"landscape": options.landscape, "noise": options.noise}
    found = run_missing(search, options, setting, lambda line: print(line, flush=True))
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
