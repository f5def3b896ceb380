"""The study behind a run: what was suggested and what came out. Everything else is rebuilt from it.

This is the one writer.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial

from nas.analysis.ladder import LadderRun
from nas.analysis.lasting import LongerPlan
from nas.analysis.run_state import RunState
from nas.record import TrialRecord
from nas.search.model.decisions import Decision
from nas.search.model.observations import ToldTrial
from nas.search.same_images import refuse_other_base
from nas.search.samplers.base import Suggestion
from nas.search.store.distributions import make_distributions
from nas.search.store.facts import (
    ABANDONED,
    BASELINE,
    INHERITS,
    LADDER,
    LATER,
    LONGER,
    LONGER_PLAN,
    NUMBER,
    PLANNED,
    PROBES,
    RECORD,
    SAME_AS,
    SIZES,
    SPEC,
    SUSPECT,
    TEST_PSNR,
    read_facts,
    read_suggestion,
)
from nas.search.store.optuna_trials import OptunaTrials, open_study
from nas.search.store.run_folder.run_directory import JOURNAL
from nas.search.store.trials import OpenTrial, StudyRules, steps_of
from search_spaces.spec import ArchSpec


class Study:
    """All that a search knows, kept in a journal.

    Rows are numbered from 0, the baseline. Opening a study settles what a kill left open: trials
    without a number are given up, ended ones that Optuna was not told of are told, the others are
    `pending`.

    Args:
        storage: of the run's journal.
        start: architectures that are tried first; they may lie outside the space.
        start_inherits: the row whose weights they start from.
    """

    def __init__(
        self,
        storage: JournalStorage,
        rules: StudyRules,
        decisions: Sequence[Decision],
        *,
        start: Sequence[ArchSpec] = (),
        start_inherits: int | None = None,
    ) -> None:
        self._study = open_study(storage, rules.objectives)
        self.rules = rules
        self._distributions = make_distributions(decisions)
        self._trials = OptunaTrials(self._study, self._distributions)

        # Rows.
        self.records: dict[int, TrialRecord] = {}
        self.ladder: list[LadderRun] = []
        self.longer_ladder: list[LadderRun] = []
        self._numbers: dict[str, int] = {}  # by arch_id, of rows and of what is being evaluated
        self._pending: dict[int, OpenTrial] = {}
        self._resumed: set[int] = set()  # trials that paused and are being trained further
        self._suggested: dict[int, OpenTrial] = {}  # rows that the sampler suggested
        self._state: RunState | None = None
        self.suspects: dict[int, str] = {}  # trials that may be what breaks the machine, and how

        # Suggestions.
        self.num_known_in_a_row = 0
        self.num_fruitless_in_a_row = 0  # rejected or known

        # Facts that are kept from the first session on.
        named = {spec.arch_id: spec for spec in start if spec.arch_id != rules.baseline.arch_id}
        first = len(named) + 1
        self.ladder_sizes = tuple(self._keep_fact(SIZES, rules.ladder_sizes))
        self.probes = tuple(self._keep_fact(PROBES, list(range(first, first + rules.num_probes))))
        self._keep_fact(LONGER_PLAN, asdict(rules.longer_plan))
        self.planned_trials = int(self._keep_fact(PLANNED, rules.planned_trials))
        self._load()
        self._open_start(named.values(), start_inherits)

    # Reading.

    @property
    def pending(self) -> list[OpenTrial]:
        """Trials that have a number and are to be evaluated, in order.

        A kill interrupted them, or they run now, or failed and are tried again.
        """
        return [self._pending[number] for number in sorted(self._pending)]

    @property
    def running(self) -> list[int]:
        """Numbers of what is being evaluated, trainings that went on among them."""
        return [*self._pending, *self._resumed]

    @property
    def suggestions(self) -> Mapping[int, Suggestion]:
        """Suggestions by the number of their row."""
        return {
            number: trial.suggestion
            for number, trial in self._suggested.items()
            if trial.suggestion
        }

    @property
    def told(self) -> Sequence[ToldTrial]:
        """What samplers are shown of all suggestions, in their order."""
        return self._trials.list_told(self.state)

    @property
    def num_counted(self) -> int:
        """Complete and failed rows other than the baseline."""
        return sum(
            record.number > 0 and record.state != "rejected" for record in self.records.values()
        )

    def knows(self, arch_id: str) -> bool:
        """Whether an architecture is a row, or is being evaluated."""
        return arch_id in self._numbers

    def list_paused(self, full_steps: int) -> list[int]:
        """List the suggested trials whose training has paused before so many steps and waits."""
        return [
            number
            for number, record in self.records.items()
            if number in self._suggested
            and number not in self._resumed
            and record.state == "complete"
            and steps_of(record) < full_steps
        ]

    def list_parents(self, full_steps: int) -> set[str]:
        """List the arch_ids whose weights stay: row 0's, and what unfinished trials start from."""
        inherited = [trial.inherits for trial in self._pending.values()]
        waiting = [*self.list_paused(full_steps), *self._resumed]
        inherited += [self.records[number].inherits for number in waiting]
        rows = {0, *(number for number in inherited if number is not None)}
        return {self.records[number].spec.arch_id for number in rows & self.records.keys()}

    @property
    def state(self) -> RunState:
        """The run as it stands; it is made once between two records."""
        if self._state is None:
            self._state = RunState(
                name="",
                challenge=self.rules.challenge,
                objectives=self.rules.objectives,
                limits=self.rules.limits,
                ladder=tuple(self.ladder),
                records=tuple(self.records[number] for number in sorted(self.records)),
                settings={},
                test_psnr_db=dict(self._study.user_attrs.get(TEST_PSNR, {})),
                ladder_seeds=self.rules.ladder_seeds,
                rungs=self.ladder_sizes,
                probes=self.probes,
                longer_plan=self.longer_plan,
                longer_ladder=tuple(self.longer_ladder),
            )
        return self._state

    def show(self, name: str, settings: Mapping[str, Any], notices: Sequence[str] = ()) -> RunState:
        """Return the run as it is shown."""
        return replace(self.state, name=name, settings=settings, notices=tuple(notices))

    # Writing.

    def open(
        self, suggestion: Suggestion, spec: ArchSpec, *, inherits: int | None = None
    ) -> OpenTrial | None:
        """Give a suggested architecture the next number.

        Returns:
            None where it is known: Optuna is told what is known of it, and it is no row.
        """
        place = self._trials.open(suggestion)
        if self.knows(spec.arch_id):
            self._trials.write(place, SAME_AS, spec.arch_id)
            self._trials.note_known(place, spec.arch_id)
            self.num_known_in_a_row += 1
            self.num_fruitless_in_a_row += 1
            self._trials.tell(place, self._find_record(spec.arch_id), self.state)
            return None

        # The number comes last: a trial without one is given up when a study is opened again.
        number = 1 + max([0, *self.records, *self._pending])
        self._trials.write(place, SPEC, spec.to_json())
        self._trials.write(place, INHERITS, inherits)
        self._trials.write(place, NUMBER, number)
        self.num_known_in_a_row = 0
        return self._open_trial(
            OpenTrial(
                number=number, spec=spec, suggestion=suggestion, inherits=inherits, place=place
            )
        )

    def resume(self, number: int) -> OpenTrial:
        """Open a complete trial again, to train it further or once more."""
        self._resumed.add(number)
        return self._reopen(number)

    def _reopen(self, number: int) -> OpenTrial:
        """Return a row as a trial that is evaluated."""
        record, suggested = self.records[number], self._suggested.get(number)
        return OpenTrial(
            number=number,
            spec=record.spec,
            suggestion=suggested.suggestion if suggested else None,
            record=record,
            inherits=record.inherits,
            place=suggested.place if suggested else None,
        )

    def retry_failed(self) -> int:
        """Open all failed rows again, to be evaluated anew; return how many there are.

        Each keeps its number, and its record until there is a newer one.
        """
        failed = [number for number, record in self.records.items() if record.state == "failed"]
        for number in failed:
            self._pending[number] = self._reopen(number)
        return len(failed)

    def suspect(self, number: int, error: str) -> None:
        """Write that a trial may be what breaks the machine.

        Args:
            error: what happened whenever it was evaluated.
        """
        self._study.set_user_attr(f"{SUSPECT}{number}", error)
        self.suspects[number] = error

    def tell(self, trial: OpenTrial, record: TrialRecord) -> None:
        """Write how a trial ended. The record comes first: a kill after it loses nothing.

        Raises:
            MachineError: its PSNR was read on other images than the ladder's; nothing is written.
        """
        if record.quality and self.ladder:
            refuse_other_base(record.quality.base_db, self.ladder[0].base_db)
        place = trial.place if trial.record is None else None
        if place is not None:
            self._trials.write(place, RECORD, record.to_json())
            self._suggested[trial.number] = trial
        else:  # Optuna lets nobody change a finished trial, and knows none of the others
            self._study.set_user_attr(f"{LATER}{trial.number}", record.to_json())
            self._trials.tell_again(trial.place, record)

        self._pending.pop(trial.number, None)
        self._resumed.discard(trial.number)
        self._keep_record(record)
        if place is not None:
            self._trials.tell(place, record, self.state)
            self.num_fruitless_in_a_row = (
                self.num_fruitless_in_a_row + 1 if record.state == "rejected" else 0
            )
        if self.suspects.pop(trial.number, None):
            self._study.set_user_attr(f"{SUSPECT}{trial.number}", None)

    def set_baseline(self, record: TrialRecord) -> None:
        """Write row 0."""
        self._study.set_user_attr(BASELINE, record.to_json())
        self._keep_record(record)

    def add_ladder_run(self, run: LadderRun, *, is_longer: bool = False) -> None:
        """Write one training of the ladder, or a longer one; raises MachineError as `tell` does."""
        if self.ladder:
            refuse_other_base(run.base_db, self.ladder[0].base_db)
        name = f"{LONGER}{run.rung}" if is_longer else f"{LADDER}{run.rung}/{run.seed}"
        self._study.set_user_attr(name, json.dumps(asdict(run)))
        (self.longer_ladder if is_longer else self.ladder).append(run)
        self._state = None

    def drop_longer(self, reason: str) -> None:
        """Write that the ladder's sizes are not trained longer after all, and why."""
        self.longer_plan = LongerPlan(reason=reason)
        self._study.set_user_attr(LONGER_PLAN, asdict(self.longer_plan))
        self._state = None

    def set_test_psnr(self, psnr_db: Mapping[str, float]) -> None:
        """Write the PSNR on the test set, by arch_id."""
        self._study.set_user_attr(TEST_PSNR, dict(psnr_db))
        self._state = None

    # Opening.

    def _keep_fact(self, name: str, value: Any) -> Any:
        """Return a fact of the study, which is kept from its first session on."""
        attrs = self._study.user_attrs
        if name not in attrs:
            self._study.set_user_attr(name, value)
            return value
        return attrs[name]

    def _load(self) -> None:
        """Read the journal and settle what a kill left open."""
        facts = read_facts(self._study)
        self.ladder, self.suspects = facts.ladder, facts.suspects
        self.longer_ladder, self.longer_plan = facts.longer_ladder, facts.longer_plan
        if facts.baseline:
            self._keep_record(facts.baseline)

        trials = self._study.get_trials(deepcopy=False)
        if trials and trials[0].distributions != self._distributions:  # those of all
            raise ValueError(f"{JOURNAL}: its trials chose among other options than this space has")
        for trial in trials:
            if ABANDONED in trial.user_attrs:
                continue
            if NUMBER in trial.user_attrs or SAME_AS in trial.user_attrs:
                self._load_trial(trial, facts.later)
            elif not trial.state.is_finished():
                self._trials.abandon(trial)

        # Rows that Optuna knows nothing of.
        for record in facts.later.values():
            if record.number not in self.records:
                self._keep_record(record)

    def _load_trial(self, trial: FrozenTrial, later: Mapping[int, TrialRecord]) -> None:
        """Take over one suggestion of an earlier session."""
        attrs = trial.user_attrs
        suggestion = read_suggestion(trial.params, attrs)
        place = self._trials.take(trial, suggestion)

        if SAME_AS in attrs:
            self._trials.note_known(place, attrs[SAME_AS])
            self.num_known_in_a_row += 1
            self.num_fruitless_in_a_row += 1
            if not trial.state.is_finished():
                self._trials.tell(place, self._find_record(attrs[SAME_AS]), self.state)
            return

        self.num_known_in_a_row = 0
        record = TrialRecord.from_json(attrs[RECORD]) if RECORD in attrs else None
        opened = OpenTrial(
            number=attrs[NUMBER],
            spec=record.spec if record else ArchSpec.from_json(attrs[SPEC]),
            suggestion=suggestion,
            inherits=attrs.get(INHERITS),
            place=place,
        )
        if record is None:
            self._open_trial(opened)
            return

        self._suggested[record.number] = opened
        self._keep_record(later.get(record.number, record))
        self._trials.tell_again(place, later.get(record.number, record))
        self.num_fruitless_in_a_row = (
            self.num_fruitless_in_a_row + 1 if record.state == "rejected" else 0
        )
        if not trial.state.is_finished():
            self._trials.tell(place, record, self.state)

    def _open_start(self, specs: Iterable[ArchSpec], inherits: int | None) -> None:
        """Give the first numbers to what was named to start with.

        Optuna is not told of these: given a trial without parameters its samplers would model
        nothing.
        """
        for number, spec in enumerate(specs, start=1):
            if number not in self.records:
                self._open_trial(
                    OpenTrial(number=number, spec=spec, suggestion=None, inherits=inherits)
                )

    # The pieces of it.

    def _open_trial(self, trial: OpenTrial) -> OpenTrial:
        self._pending[trial.number] = trial
        self._numbers.setdefault(trial.spec.arch_id, trial.number)
        return trial

    def _keep_record(self, record: TrialRecord) -> None:
        self.records[record.number] = record
        self._numbers.setdefault(record.spec.arch_id, record.number)
        self._state = None

    def _find_record(self, arch_id: str) -> TrialRecord | None:
        """Return the record of an architecture; None: it is being evaluated."""
        number = self._numbers.get(arch_id)
        return None if number is None else self.records.get(number)
