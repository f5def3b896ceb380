"""Samplers from Optuna: made anew for each proposal, with a seed of (run seed, proposal)."""

import warnings
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from nas.search.sampling.decisions import Distributions


def stock_sampler(
    kind: Literal["nsga2", "tpe", "gp", "random"],
    space: Distributions,
    *,
    population: int,
    startup: int,
    seed: int,
) -> BaseSampler:
    """A sampler of Optuna's that models every decision of a space."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if kind == "nsga2":
            return _NSGAII(space, population_size=population, seed=seed)
        if kind == "tpe":
            return _TPE(space, multivariate=True, n_startup_trials=startup, seed=seed)
        if kind == "gp":
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
