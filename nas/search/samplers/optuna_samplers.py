"""sampler=nsga2, tpe, gp: Optuna's samplers, over a study in memory that mirrors what was told.

No other sampler file knows Optuna. The mirror holds every suggestion in its order, so that a
sampler finds there what it would find in the run's own study, which is never asked.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from nas.search.model.candidates import Point
from nas.search.model.observations import Observations, ToldTrial
from nas.search.samplers.base import Suggestion, check_count, default_population
from nas.search.store.distributions import make_distributions
from nas.system.schema.schema_rules import Count
from nas.system.schema.stored_schema import SchemaError, read_as

GENERATION, PARENTS = "generation", "parents"  # notes of NSGA-II


class _Mirror:
    """A study in memory; its trial numbers are places in the order of what was told."""

    def __init__(self, observations: Observations) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.study = optuna.create_study(
            directions=list[Any](observations.directions), sampler=RandomSampler(seed=0)
        )
        self.distributions = make_distributions(observations.candidates.decisions)
        self._search = (observations.candidates.decisions, observations.directions)
        self._told: list[ToldTrial] = []  # as the study holds them
        self._open: dict[int, Trial] = {}

    def is_start_of(self, observations: Observations) -> bool:
        """Whether the trials that it holds are the first of a search.

        Open ones may have ended since.
        """
        told = observations.told
        if self._search != (observations.candidates.decisions, observations.directions):
            return False
        if len(told) < len(self._told):
            return False
        return all(map(_may_become, self._told, told))

    def follow(self, told: Sequence[ToldTrial]) -> None:
        """Bring the study up to what was told."""
        for place in [place for place in self._open if told[place].state != "open"]:
            self._end(self._open.pop(place), told[place])
        for trial in told[len(self._told) :]:
            self._add(trial)
        self._told = list(told)

    def ask(
        self, make_sampler: Callable[[Mapping[str, BaseDistribution]], "_WholeSpace"]
    ) -> Suggestion:
        """Open a trial with what a sampler of Optuna's suggests; it is expected to be told next."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = make_sampler(self.distributions)
            self.study.sampler = sampler
            trial = self.study.ask(self.distributions)
        self.study.sampler = RandomSampler(seed=0)
        self._open[trial.number] = trial
        self._told.append(ToldTrial(params=dict(trial.params), state="open"))
        return Suggestion(params=dict(trial.params), notes=sampler.notes)

    def _add(self, told: ToldTrial) -> None:
        """Add one trial that was told; an open one can be finished later."""
        if told.state == "open":
            self.study.enqueue_trial(dict(told.params))
            trial = self.study.ask(self.distributions)
            self._open[trial.number] = trial
        else:
            self.study.add_trial(
                create_trial(
                    state=TrialState.FAIL if told.values is None else TrialState.COMPLETE,
                    params=dict(told.params),
                    distributions=self.distributions,
                    values=None if told.values is None else list(told.values),
                    constraints=dict(told.constraints),
                )
            )

    def _end(self, trial: Trial, told: ToldTrial) -> None:
        if told.values is None:
            self.study.tell(trial, state=TrialState.FAIL)
            return
        for name, excess in told.constraints.items():
            trial.set_constraint(name, excess)
        self.study.tell(trial, list(told.values))


def _may_become(before: ToldTrial, now: ToldTrial) -> bool:
    """Whether a trial can be what is told of it now.

    Only an open one changes, and not its parameters.
    """
    if now is before:
        return True
    if before.state == "open":
        return dict(now.params) == dict(before.params)
    return now == before


@dataclass(slots=True, kw_only=True)
class _Mirrored:
    """The mirror of the search that a sampler serves; made anew where it serves another one."""

    mirror: _Mirror | None = None

    def follow(self, observations: Observations) -> _Mirror:
        if self.mirror is None or not self.mirror.is_start_of(observations):
            self.mirror = _Mirror(observations)
        self.mirror.follow(observations.told)
        return self.mirror


@dataclass(frozen=True, slots=True, kw_only=True)
class TPE:
    """Multivariate tree-structured Parzen estimator, a density-ratio model.

    Attributes:
        startup: suggestions that are drawn at random before the model.
    Raises:
        ValueError: a key is out of its range.
    """

    startup: int
    picks_best = False
    _mirrored: _Mirrored = field(default_factory=_Mirrored, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_count("startup", self.startup, 1)

    def ask(
        self, observations: Observations, pending: Sequence[Point], *, seed: int
    ) -> Suggestion | None:
        """Return the next suggestion. See `Sampler.ask`."""
        options: dict[str, Any] = {
            "multivariate": True,
            "n_startup_trials": self.startup,
            "seed": seed,
        }
        return self._mirrored.follow(observations).ask(lambda space: _TPE(space, **options))


@dataclass(frozen=True, slots=True, kw_only=True)
class GP:
    """Gaussian processes with expected hypervolume improvement.

    A suggestion takes seconds after some hundred trials.

    Attributes:
        startup: suggestions that are drawn at random before the model.
    Raises:
        ValueError: a key is out of its range.
    """

    startup: int
    picks_best = False
    _mirrored: _Mirrored = field(default_factory=_Mirrored, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_count("startup", self.startup, 1)

    def ask(
        self, observations: Observations, pending: Sequence[Point], *, seed: int
    ) -> Suggestion | None:
        """Return the next suggestion. See `Sampler.ask`."""
        options: dict[str, Any] = {"n_startup_trials": self.startup, "seed": seed}
        return self._mirrored.follow(observations).ask(lambda space: _GP(space, **options))


@dataclass(frozen=True, slots=True, kw_only=True)
class NSGA2:
    """NSGA-II, a genetic algorithm for several objectives.

    Attributes:
        population: members of a generation; None: a quarter of the trials asked for at first, from
            8 to 50.
    Raises:
        ValueError: a key is out of its range.
    """

    population: int | None
    picks_best = False
    _mirrored: _Mirrored = field(default_factory=_Mirrored, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_count("population", self.population, 2)

    def ask(
        self, observations: Observations, pending: Sequence[Point], *, seed: int
    ) -> Suggestion | None:
        """Return the next suggestion. See `Sampler.ask`."""
        population = self.population or default_population(observations.planned_trials)
        options: dict[str, Any] = {"population_size": population, "seed": seed}
        return self._mirrored.follow(observations).ask(
            lambda space: _NSGAII(space, observations.told, **options)
        )


class _WholeSpace(BaseSampler):
    """Models every decision: each trial has them all, and Optuna need not find that out."""

    def __init__(self, distributions: Mapping[str, BaseDistribution], **options: Any) -> None:
        super().__init__(**options)
        self._distributions = dict(sorted(distributions.items()))
        self.notes: dict[str, Any] = {}  # of the suggestion

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._distributions


class _TPE(_WholeSpace, TPESampler): ...


class _GP(_WholeSpace, GPSampler): ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Notes:
    """What NSGA-II keeps with a suggestion; parents are places in the order of what was told."""

    generation: Count
    parents: tuple[Count, ...] | None = None


def _read_notes(told: Sequence[ToldTrial], place: int) -> _Notes | None:
    """Return the notes of a suggestion; None where it has none.

    Raises:
        SchemaError: they speak of what was not told yet.
    """
    if not told[place].notes:
        return None
    name = f"the notes of suggestion {place} in the journal"
    notes = read_as(_Notes, told[place].notes, name)
    if max((notes.generation, *(notes.parents or ()))) > place:
        raise SchemaError(name, f"expected numbers of at most {place}, got {notes}"[:120])
    return notes


class _NSGAII(_WholeSpace, NSGAIISampler):
    """Optuna's rules; generations and their parents are kept as notes of the suggestions.

    Optuna keeps them in the study, where a search that goes on after a kill would find others: the
    parents of a generation are chosen among those that had ended when its first member was
    suggested.
    """

    def __init__(
        self,
        distributions: Mapping[str, BaseDistribution],
        told: Sequence[ToldTrial],
        **options: Any,
    ) -> None:
        super().__init__(distributions, **options)
        self._told = told

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        """Return the generation of a new trial.

        It is the last one until that has a whole population.
        """
        last, count = 0, 0
        for place in reversed(range(len(self._told))):
            notes = _read_notes(self._told, place)
            if self._told[place].values is None or notes is None:
                continue
            generation = notes.generation
            if generation < last:  # a later trial is never of an earlier generation
                break
            last, count = generation, count + 1 if generation == last else 1

        assert self.population_size is not None
        generation = last if count < self.population_size else last + 1
        self.notes[GENERATION] = generation
        return generation

    def get_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Return the complete trials of a generation."""
        trials = study.get_trials(deepcopy=False)
        return [
            trials[place]
            for place, told in enumerate(self._told)
            if told.values is not None and told.notes.get(GENERATION) == generation
        ]

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Return the parents of a generation in the order in which its first member chose them."""
        if generation == 0:
            return []
        trials = study.get_trials(deepcopy=False)
        for place, told in enumerate(self._told):
            if told.notes.get(GENERATION) == generation and PARENTS in told.notes:
                notes = _read_notes(self._told, place)
                assert notes
                return [trials[parent] for parent in notes.parents or ()]

        places = sorted(trial.number for trial in self.select_parent(study, generation))
        if generation == self.notes.get(GENERATION):
            self.notes[PARENTS] = places
        return [trials[place] for place in places]
