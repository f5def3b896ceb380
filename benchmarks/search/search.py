"""Search methods against each other: trainings until a share of the front's hypervolume is found.

    python benchmarks/search/search.py [METHOD ...] [--landscape span_like] [--seeds 10] [--noise 0.02]

A training reveals PSNR (with --noise, its deviation in dB); a reading reveals the runtime, with 1 %
of noise, and costs no training. Methods whose name ends in `_known` know every runtime beforehand;
botorch_known is BoTorch's (benchmarks/search/rivals.py) and run only where it is named. Lines are appended
to the results file as they come, and what is there is not run again. The table holds medians and
quartiles over the seeds, and the ratio of the best Optuna sampler's trainings to the product's with
its bootstrap interval.
"""

import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from benchmarks.search.landscapes import LANDSCAPES, Landscape
from benchmarks.search.rivals import botorch_known, lacking
from benchmarks.shared.comparison import parser, quartiles, ratios, run_missing
from benchmarks.shared.lines import Line
from nas.search.model.acquisition import Acquisition
from nas.search.model.candidates import Candidate, Candidates, Point
from nas.search.model.observations import (
    Observation,
    Observations,
    PredictedQuality,
    ToldTrial,
)
from nas.search.model.rating import list_best
from nas.search.model.surrogate import Surrogate, fit
from nas.search.samplers.base import Sampler, Suggestion
from nas.search.samplers.cost_aware import CostAware, suggest_best
from nas.search.samplers.optuna_samplers import GP, NSGA2, TPE
from nas.search.samplers.random import Random
from nas.search.screening import Screen

ACQUISITION = Acquisition(
    goal="front",
    objectives=("psnr_gain_db", "runtime_ratio"),
    limits={},
    gate_db=0.0,
    floor_db=None,
    score=None,
)
READING_NOISE = 0.01
SHARES = (0.9, 0.95, 0.98)
RATED = 0.95
STARTUP = 6  # of conf/sampler/cost_aware.yaml
DEVIATIONS = 3.0  # of conf/sampler/cost_aware.yaml
MOST = {"gp": 120, "botorch_known": 120}  # trainings after which a method is given up
GIVEN_UP = 400
MOST_READINGS = 3000  # after which too


class Run:
    """One search of one method: what it knows, and how much of the front's hypervolume that is.

    Args:
        is_known: every runtime is known beforehand, and none is read.
    """

    def __init__(
        self, landscape: Landscape, seed: int, noise: float, *, is_known: bool = False
    ) -> None:
        self.landscape = landscape
        self.seed = seed
        self.noise = noise
        self.is_known = is_known
        self.rng = np.random.default_rng(seed)
        self.whole = landscape.volume(landscape.everything())
        self.candidates = make_candidates(landscape, seed, is_known=is_known)

        # What a sampler is given.
        self.rows: list[Observation] = []
        self.told: list[ToldTrial] = []

        # What is counted.
        self.trained: list[Point] = []
        self.values: list[tuple[float, float]] = []  # PSNR and runtime of what was trained
        self.reached: dict[float, int] = {}
        self.readings = 0
        self.screened = 0  # candidates that were not trained

    @property
    def duplicates(self) -> int:
        """How many trainings were of what had been trained before."""
        return len(self.trained) - len(set(self.trained))

    def observe(self) -> Observations:
        """Return what a sampler is given."""
        return Observations(
            rows=self.rows,
            candidates=self.candidates,
            acquisition=ACQUISITION,
            noise_db=0.0,
            directions=("maximize", "minimize"),
            told=self.told,
            planned_trials=GIVEN_UP,
        )

    def read(self, params: Mapping[str, int]) -> float:
        """Return the runtime of an architecture."""
        runtime = self.landscape.at(params)[1]
        if self.is_known:
            return runtime
        self.readings += 1
        return runtime * (1 + self.rng.normal(0, READING_NOISE))

    def train(self, params: Mapping[str, int]) -> float:
        """Return the PSNR of an architecture, and count what the front has got by it."""
        self.trained.append(self.candidates.point(params))
        self.values.append(self.landscape.at(params))
        share = self.landscape.volume(np.array(self.values)) / self.whole
        for wanted in SHARES:
            if share >= wanted:
                self.reached.setdefault(wanted, len(self.trained))
        return self.values[-1][0] + self.rng.normal(0, self.noise)


class Repeating:
    """An ablation: what was trained may be suggested again, once the points to start with are."""

    picks_best = True

    def ask(
        self, observations: Observations, pending: Sequence[Point], *, seed: int
    ) -> Suggestion | None:
        if len(observations.trained) < STARTUP:
            sampler = CostAware(startup=STARTUP, screen=DEVIATIONS)
            return sampler.ask(observations, pending, seed=seed)

        # What was screened stays out, or it would be asked for ever.
        screened = {row.point for row in observations.rows if row.quality is None}
        points = observations.candidates.list_points(list_best(observations))
        repeatable = [point for point in points if point not in screened]
        return suggest_best(repeatable, observations, pending, seed=seed, screen=DEVIATIONS)


class Drawn:
    """An ablation: candidates at random, with what is predicted of them: they can be screened."""

    picks_best = False

    def __init__(self) -> None:
        self._surrogate: tuple[int, Surrogate] | None = None  # and of how many trainings

    def ask(
        self, observations: Observations, pending: Sequence[Point], *, seed: int
    ) -> Suggestion | None:
        candidates, trained = observations.candidates, observations.trained
        tried, points = observations.list_tried(pending), candidates.list_points([])
        if tried.issuperset(points):
            return None
        rng = random.Random(seed)
        point = rng.choice(points)
        while point in tried:
            point = rng.choice(points)

        params = candidates.params(point)
        if len(trained) < STARTUP:
            return Suggestion(params=params)
        surrogate = self._fit(candidates, trained)
        mean, std = surrogate.predict(candidates.encode([point]))
        predicted = PredictedQuality(
            mean=float(mean[0]), std=float(std[0]), noise=surrogate.noise_std
        )
        return Suggestion(params=params, predicted=predicted, max_deviations=DEVIATIONS)

    def _fit(self, candidates: Candidates, trained: Sequence[Observation]) -> Surrogate:
        """Return the surrogate of quality; it is fitted once a training."""
        if self._surrogate is None or self._surrogate[0] != len(trained):
            inputs = candidates.encode([row.point for row in trained])
            outputs = np.array([row.quality for row in trained])
            self._surrogate = len(trained), fit(inputs, outputs)
        return self._surrogate[1]


STOCK: dict[str, Callable[[], Sampler]] = {
    "random": Random,
    "nsga2_50": lambda: NSGA2(population=50),
    "nsga2_20": lambda: NSGA2(population=20),
    "tpe": lambda: TPE(startup=10),
    "gp": lambda: GP(startup=10),
}
OURS: dict[str, Callable[[], Sampler]] = {
    "cost_aware": lambda: CostAware(startup=STARTUP, screen=DEVIATIONS),
    "cost_aware_known": lambda: CostAware(startup=STARTUP, screen=DEVIATIONS),
    # These lack a part of cost_aware each: the screen, the rule that nothing is trained twice, and
    # the choice by what is expected.
    "cost_aware_unscreened": lambda: CostAware(startup=STARTUP, screen=None),
    "cost_aware_repeats": Repeating,
    "random_screened": Drawn,
}
RIVALS = ("botorch_known",)


def make_candidates(landscape: Landscape, seed: int, *, is_known: bool) -> Candidates:
    """Return a landscape's points, with their runtimes where these are known beforehand."""

    def describe(params: Mapping[str, int]) -> Candidate:
        costs = {"runtime_ratio": landscape.at(params)[1]} if is_known else {}
        return Candidate(name=",".join(map(str, params.values())), costs=costs)

    return Candidates(landscape.decisions, describe, seed=seed)


def search_by_sampler(run: Run, sampler: Sampler, most: int) -> None:
    """Search until the largest share is reached, or so many trainings or readings are made."""
    while (
        len(run.trained) < most and SHARES[-1] not in run.reached and len(run.rows) < MOST_READINGS
    ):
        number = len(run.rows)
        suggestion = sampler.ask(run.observe(), [], seed=1000 * run.seed + number)
        if suggestion is None:  # every candidate is known
            return
        params = suggestion.params
        costs = {"runtime_ratio": run.read(params)}

        # A candidate whose costs rule it out is a row without a training.
        quality, values = None, None
        if _is_screened(run, suggestion, costs):
            run.screened += 1
        else:
            quality = run.train(params)
            values = (quality, costs["runtime_ratio"])

        row = Observation(
            point=run.candidates.point(params),
            quality=quality,
            costs=costs,
            number=number,
            predicted=suggestion.predicted,
        )
        state: Literal["complete", "failed"] = "failed" if values is None else "complete"
        run.rows.append(row)
        run.told.append(
            ToldTrial(params=params, state=state, values=values, notes=suggestion.notes)
        )


def _is_screened(run: Run, suggestion: Suggestion, costs: Mapping[str, float]) -> bool:
    if suggestion.predicted is None or suggestion.max_deviations is None:
        return False
    screen = Screen.of(run.observe(), suggestion.predicted, suggestion.max_deviations)
    return bool(screen.reason(costs))


def search_by_botorch(run: Run, most: int) -> None:
    """Search by BoTorch, which is told the reference point and no method else."""
    psnr_db: list[float] = []
    while len(run.trained) < most and SHARES[-1] not in run.reached:
        point = botorch_known(
            run.candidates,
            run.trained,
            psnr_db,
            corner=run.landscape.corner,
            startup=STARTUP,
            seed=1000 * run.seed + len(run.trained),
        )
        psnr_db.append(run.train(run.candidates.params(point)))


def search(method: str, seed: int, landscape: str, noise: float) -> Line:
    """Return one line of the results."""
    run = Run(LANDSCAPES[landscape](), seed, noise, is_known=method.endswith("_known"))
    start = time.perf_counter()
    most = MOST.get(method, GIVEN_UP)
    if method in RIVALS:
        search_by_botorch(run, most)
    else:
        search_by_sampler(run, (STOCK | OURS)[method](), most)
    return {
        "landscape": landscape,
        "noise": noise,
        "method": method,
        "seed": seed,
        "reached": {str(share): count for share, count in run.reached.items()},
        "trainings": len(run.trained),
        "readings": run.readings,
        "screened": run.screened,
        "duplicates": run.duplicates,
        "seconds": time.perf_counter() - start,
    }


def counts(found: Sequence[Mapping[str, Any]], method: str, share: float) -> np.ndarray:
    """Trainings until a share, by seed; infinite where it was not reached."""
    return np.array(
        [line["reached"].get(str(share), np.inf) for line in found if line["method"] == method],
        dtype=float,
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
            share = sum(line["duplicates"] for line in mine) / sum(
                line["trainings"] for line in mine
            )
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
    asked.add_argument(
        "--noise", type=float, default=0.0, help="deviation of a training's PSNR, dB"
    )
    options = asked.parse_args()
    if lacks := lacking(options.methods):
        asked.error(lacks)
    setting = {"landscape": options.landscape, "noise": options.noise}
    found = run_missing(search, options, setting, lambda line: print(line, flush=True))
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
