"""The suggestions of a study as Optuna keeps them, which takes some of its private names."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from nas.analysis.columns import GOALS
from nas.analysis.run_state import RunState
from nas.record import TrialRecord
from nas.search.model.observations import ToldTrial
from nas.search.samplers.base import Suggestion
from nas.search.store.facts import ABANDONED, STUDY, SUGGESTION, write_suggestion
from nas.search.store.told_values import find_told_values


def open_study(storage: JournalStorage, objectives: Sequence[str]) -> optuna.Study:
    """Return the study of a journal, made where it is not there."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(
        storage=storage,
        study_name=STUDY,
        directions=[GOALS[name].direction for name in objectives],
        load_if_exists=True,
        sampler=RandomSampler(seed=0),  # never asked: trials are opened with their parameters
    )


class OptunaTrials:
    """The suggestions of a study in their order, and what Optuna was told of each."""

    def __init__(self, study: optuna.Study, distributions: Mapping[str, BaseDistribution]) -> None:
        self._study = study
        self._distributions = dict(distributions)
        self._told: list[ToldTrial] = []
        self._again: dict[int, TrialRecord] = {}  # by place: of what had failed, what came out last
        self._known: dict[str, list[int]] = {}  # places at which an arch_id was suggested once more
        self._open: list[Trial | None] = []  # of those that Optuna was not told of

    def open(self, suggestion: Suggestion) -> int:
        """Open a trial with its parameters in one record; return its place.

        Optuna's `ask` would write a record for each of the parameters.
        """
        kept = write_suggestion(suggestion)
        opened = create_trial(
            state=TrialState.RUNNING,
            params=dict(suggestion.params),
            distributions=self._distributions,
            user_attrs={SUGGESTION: kept} if kept else {},
        )
        storage, study_id = self._study._storage, self._study._study_id
        handle = storage.create_new_trial(study_id, template_trial=opened)
        return self._append_open(Trial(self._study, handle), suggestion)

    def take(self, trial: FrozenTrial, suggestion: Suggestion) -> int:
        """Take over a trial of an earlier session; return its place."""
        if not trial.state.is_finished():
            return self._append_open(Trial(self._study, trial._trial_id), suggestion)

        is_complete = trial.state == TrialState.COMPLETE
        self._open.append(None)
        self._told.append(
            ToldTrial(
                params=suggestion.params,
                state="complete" if is_complete else "failed",
                values=tuple(trial.values) if is_complete else None,
                constraints=dict(trial.constraints),
                notes=suggestion.notes,
            )
        )
        return len(self._told) - 1

    def abandon(self, trial: FrozenTrial) -> None:
        """Give up a trial that was killed before it had a number: it is suggested again."""
        storage, handle = self._study._storage, trial._trial_id
        storage.set_trial_user_attr(handle, ABANDONED, True)
        storage.set_trial_state_values(handle, TrialState.FAIL)

    def write(self, place: int, name: str, value: Any) -> None:
        """Write an attribute of a trial that Optuna was not told of."""
        self._find_open(place).set_user_attr(name, value)

    def tell(self, place: int, record: TrialRecord | None, state: RunState) -> None:
        """Tell what is known of a suggestion.

        None, like a record that failed, counts as failed.
        """
        trial = self._find_open(place)
        values, constraints = find_told_values(record, state)
        known = trial.constraints  # of a session that was killed between them and the end
        for name, excess in constraints.items():
            if name not in known:
                trial.set_constraint(name, excess)
        if values is None:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, list(values))

        self._open[place] = None
        self._told[place] = _replace_values(self._told[place], values, constraints)

    def note_known(self, place: int, arch_id: str) -> None:
        """Note that a suggestion is one of those before it: it is told what they are."""
        self._known.setdefault(arch_id, []).append(place)

    def tell_again(self, place: int | None, record: TrialRecord) -> None:
        """Keep what came out last of a suggestion that had failed.

        Optuna's own study keeps what it was told first: it lets nobody change that.
        """
        if place is not None and self._told[place].state == "failed":
            self._again[place] = record

    def list_told(self, state: RunState) -> Sequence[ToldTrial]:
        """Return what samplers are shown of the suggestions, by place.

        Of what was evaluated again that is what would be told of it now.
        """
        if not self._again:
            return self._told
        told = list(self._told)
        for place, record in self._again.items():
            now = find_told_values(record, state)
            for same in (place, *self._known.get(record.spec.arch_id, ())):
                if told[same].state == "failed":
                    told[same] = _replace_values(told[same], *now)
        return told

    def _append_open(self, trial: Trial, suggestion: Suggestion) -> int:
        self._open.append(trial)
        self._told.append(ToldTrial(params=suggestion.params, state="open", notes=suggestion.notes))
        return len(self._told) - 1

    def _find_open(self, place: int) -> Trial:
        trial = self._open[place]
        assert trial is not None
        return trial


def _replace_values(
    told: ToldTrial, values: tuple[float, ...] | None, constraints: Mapping[str, float]
) -> ToldTrial:
    """Return a trial that has ended so; None counts as failed."""
    return replace(
        told,
        state="failed" if values is None else "complete",
        values=values,
        constraints=constraints,
    )
