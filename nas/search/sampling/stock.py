"""Samplers from Optuna: made anew for each proposal, with a seed of (run seed, proposal)."""

import warnings
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

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
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._space


class _NSGAII(_WholeSpace, NSGAIISampler):
    """Optuna's rules, though it looks at the latest trials only: Optuna goes through all at each proposal."""

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        """The generation of a new trial: the last one, until a population of it is complete."""
        key, last, count = self._get_generation_key(), 0, 0
        if key in trial.system_attrs:
            return int(trial.system_attrs[key])
        for other in reversed(study._get_trials(deepcopy=False, use_cache=True)):
            generation = other.system_attrs.get(key) if other.state == TrialState.COMPLETE else None
            if generation is None:
                continue
            if generation < last:  # a later trial is never of an earlier generation
                break
            last, count = generation, count + 1 if generation == last else 1
        assert self.population_size is not None
        generation = last if count < self.population_size else last + 1
        study._storage.set_trial_system_attr(trial._trial_id, key, generation)
        return generation

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """In one order: Optuna gives another the first time than later, so that a kill would change draws."""
        kept = study._storage.get_study_system_attrs(study._study_id)
        handles = kept.get(f"{self._get_parent_cache_key_prefix()}{generation}")
        if handles is None:
            parents = super().get_parent_population(study, generation)
        else:
            parents = [study._storage.get_trial(handle) for handle in handles]
        return sorted(parents, key=lambda trial: trial.number)


class _TPE(_WholeSpace, TPESampler): ...


class _GP(_WholeSpace, GPSampler): ...
