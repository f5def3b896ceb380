"""sampler=cost_aware as an Optuna sampler: what was seen comes from the study, the choice from a proposer."""

from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from nas.search.sampling.aim import QUALITIES
from nas.search.sampling.proposer import Proposer, Seen

EXPECTED = "expected"  # of the quality: mean and standard deviation, an attribute of a trial


class CostAwareSampler(BaseSampler):
    """Proposes what is expected to bring most, where costs are known and quality alone is uncertain.

    Args:
        look: the finished trials of a study -> what was seen; None: objectives as they were told, for any
            study whose objectives are those of the proposer's aim, in their order.
        startup: networks drawn at random before the models choose.
        seed: its draws follow from this and the study alone.
    """

    def __init__(
        self,
        proposer: Proposer,
        look: Callable[[Sequence[FrozenTrial]], list[Seen]] | None = None,
        *,
        startup: int,
        seed: int,
    ) -> None:
        self.proposer = proposer
        self.look = look or self._told
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
        if choice.mean is not None:
            study._storage.set_trial_user_attr(trial._trial_id, EXPECTED, [choice.mean, choice.std])
        return pool.params(choice.point)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """At random: every candidate is known."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _told(self, trials: Sequence[FrozenTrial]) -> list[Seen]:
        names = self.proposer.aim.objectives
        seen = []
        for trial in trials:
            values = dict(zip(names, trial.values, strict=True)) if trial.values else {}
            quality = next((values.pop(name) for name in QUALITIES if name in values), None)
            point = self.proposer.pool.point(trial.params)
            seen.append(Seen(point=point, quality=quality, costs=values, number=trial.number))
        return seen
