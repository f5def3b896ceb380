"""Our own samplers as Optuna's: what was seen comes from the study, the choice from a proposer."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from nas.search.sampling.pool import Point, Pool
from nas.search.sampling.proposer import Choice, Seen

EXPECTED = "expected"  # of the quality: mean, standard deviation and noise, an attribute of a trial


class Chooses(Protocol):
    """A `Proposer` or what else chooses points of its pool."""

    @property
    def pool(self) -> Pool: ...
    def propose(
        self, seen: Sequence[Seen], pending: Iterable[Point], *, startup: int, seed: int
    ) -> Choice | None: ...


class ProposerSampler(BaseSampler):
    """Proposes what a proposer chooses: cost_aware's, or evolution's.

    Args:
        look: the finished trials of a study -> what was seen.
        startup: networks drawn at random before the models choose.
        seed: its draws follow from this and the study alone.
    """

    def __init__(
        self,
        proposer: Chooses,
        look: Callable[[Sequence[FrozenTrial]], list[Seen]],
        *,
        startup: int,
        seed: int,
    ) -> None:
        self.proposer = proposer
        self.look = look
        self.startup = startup
        self.seed = seed
        self._random = RandomSampler(seed=seed)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return dict(self.proposer.pool.space)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        trials = [one for one in study.get_trials(deepcopy=False) if one.number != trial.number]
        pool = self.proposer.pool
        choice = self.proposer.propose(
            self.look([one for one in trials if one.state.is_finished()]),
            [
                pool.point(one.params)
                for one in trials
                if one.state == TrialState.RUNNING and len(one.params) == len(pool.names)
            ],
            startup=self.startup,
            seed=self.seed,
        )
        if choice is None:
            return {}
        if choice.expected is not None:
            study._storage.set_trial_user_attr(trial._trial_id, EXPECTED, list(choice.expected))
        return pool.params(choice.point)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """At random: every candidate is known."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)
