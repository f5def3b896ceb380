"""Samplers from Optuna: made anew for each proposal, with a seed of (run seed, proposal)."""

import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from search_spaces.chooser import S
from search_spaces.spec import Scalar


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

    def make(self, *, seed: int, population: int) -> BaseSampler:
        """A sampler whose draws follow from `seed` and the study alone."""
        startup = self.startup or 10
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if self.kind == "nsga2":
                return NSGAIISampler(population_size=self.population or population, seed=seed)
            if self.kind == "tpe":
                return TPESampler(multivariate=True, n_startup_trials=startup, seed=seed)
            if self.kind == "gp":
                return GPSampler(n_startup_trials=startup, seed=seed)
            return RandomSampler(seed=seed)


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


class IndexChooser:
    """Draws as `RandomChooser` does and keeps the indices, as parameters of an Optuna trial."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.params: dict[str, int] = {}

    def pick(self, name: str, options: Sequence[S]) -> S:
        self.params[name] = self.rng.randrange(len(options))
        return options[self.params[name]]


def is_ordinal(options: Sequence[Scalar]) -> bool:
    numbers = [o for o in options if isinstance(o, int | float) and not isinstance(o, bool)]
    return len(numbers) == len(options) and numbers == sorted(numbers)
