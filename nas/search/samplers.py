"""Samplers from Optuna: made anew for each proposal, with a seed of (run seed, proposal)."""

import itertools
import math
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from search_spaces.chooser import S, Space, decisions
from search_spaces.spec import Scalar

Distributions = Mapping[str, BaseDistribution]

MAX_DRAWS = 1000
MAX_LISTED = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerConfig:
    """Which sampler proposes.

    Attributes:
        kind: nsga2, tpe, gp or random.
        population: of nsga2; null: a quarter of the trials asked for at first, from 8 to 50.
        startup: proposals that are drawn at random before tpe or gp start to model; null: 10.
    """

    kind: Literal["nsga2", "tpe", "gp", "random"]
    population: int | None
    startup: int | None

    def __post_init__(self) -> None:
        if self.population is not None and self.population < 2:
            raise ValueError(f"sampler.population must be at least 2, got {self.population}")
        if self.startup is not None and self.startup < 1:
            raise ValueError(f"sampler.startup must be at least 1, got {self.startup}")

    def make(self, *, seed: int, population: int, space: Distributions) -> BaseSampler:
        """A sampler whose draws follow from `seed` and the study alone; `space` holds every decision."""
        startup = self.startup or 10
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if self.kind == "nsga2":
                return _NSGAII(space, population_size=self.population or population, seed=seed)
            if self.kind == "tpe":
                return _TPE(space, multivariate=True, n_startup_trials=startup, seed=seed)
            if self.kind == "gp":
                return _GP(space, n_startup_trials=startup, seed=seed)
            return RandomSampler(seed=seed)


class _WholeSpace:
    """Models every decision: each trial has them all. Optuna would compare all trials to find that out."""

    def __init__(self, space: Distributions, **options: Any) -> None:
        super().__init__(**options)
        self._space = dict(sorted(space.items()))

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._space


class _NSGAII(_WholeSpace, NSGAIISampler):
    def get_parent_population(self, study: optuna.Study, generation: int) -> list[optuna.trial.FrozenTrial]:
        """In one order: Optuna gives another the first time than later, so that a kill would change draws."""
        return sorted(super().get_parent_population(study, generation), key=lambda trial: trial.number)


class _TPE(_WholeSpace, TPESampler): ...


class _GP(_WholeSpace, GPSampler): ...


def default_population(trials: int) -> int:
    """A population that gets some generations out of the trials asked for."""
    return min(50, max(8, trials // 4))


def derived_seed(run_seed: int, *path: int | str) -> int:
    """A 31-bit seed for one purpose, a pure function of the run's seed and the path."""
    return random.Random(f"{run_seed}/{'/'.join(map(str, path))}").getrandbits(31)


class TrialChooser:
    """Asks an Optuna trial for every decision: an index into the options.

    Rising numbers are asked as an integer, so that models see their order; the rest as a category.
    """

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial = trial

    def pick(self, name: str, options: Sequence[S]) -> S:
        if is_ordinal(options):
            return options[self.trial.suggest_int(name, 0, len(options) - 1)]
        return options[self.trial.suggest_categorical(name, list(range(len(options))))]


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """What `TrialChooser` asks of a trial, by decision."""
    return {
        name: IntDistribution(0, len(options) - 1)
        if is_ordinal(options)
        else CategoricalDistribution(range(len(options)))
        for name, options in decisions(space).items()
    }


class IndexChooser:
    """Picks by index, as the parameters of an Optuna trial say."""

    def __init__(self, params: Mapping[str, int]) -> None:
        self.params = params

    def pick(self, name: str, options: Sequence[S]) -> S:
        return options[self.params[name]]


def draws(space: Distributions, rng: random.Random) -> Iterator[dict[str, int]]:
    """Random parameters: all there are, each once, of a small space; a thousand of a large one."""
    sizes = [num_options(distribution) for distribution in space.values()]
    if math.prod(sizes) <= MAX_LISTED:
        listed = list(itertools.product(*map(range, sizes)))
        rng.shuffle(listed)
        yield from (dict(zip(space, indices, strict=True)) for indices in listed)
    else:
        for _ in range(MAX_DRAWS):
            yield {name: rng.randrange(size) for name, size in zip(space, sizes, strict=True)}


def num_options(distribution: BaseDistribution) -> int:
    if isinstance(distribution, IntDistribution):
        return distribution.high + 1
    assert isinstance(distribution, CategoricalDistribution)
    return len(distribution.choices)


def is_ordinal(options: Sequence[Scalar]) -> bool:
    numbers = [o for o in options if isinstance(o, int | float) and not isinstance(o, bool)]
    return len(numbers) == len(options) and numbers == sorted(numbers)
