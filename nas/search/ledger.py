"""The study behind a run: what was proposed, what came out; everything else is rebuilt from it."""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState

from nas.analysis.columns import GOALS
from nas.analysis.ladder import RUNGS, LadderRun
from nas.analysis.run_state import RunState
from nas.record import TrialRecord
from nas.score import Challenge
from nas.search.answers import answer
from nas.search.fidelity.rungs import Rungs
from nas.search.insight import Insight, Known
from nas.search.sampling.aim import GoalWord
from nas.search.sampling.config import SamplerConfig
from nas.search.sampling.decisions import IndexChooser, TrialChooser, draws
from nas.search.sampling.proposer import Seen
from nas.search.sampling.sampler import EXPECTED
from nas.search.screening import Screen
from nas.search.seeds import derived_seed
from nas.search.strategy import Strategy, Tried, steps_of
from search_spaces.chooser import Space
from search_spaces.spec import ArchSpec

STUDY = "nas"
NUMBER, RECORD, ABANDONED, SAME_AS, SPEC = "number", "record", "abandoned", "same_as", "spec"
INHERITS = "inherits"
LATER = "record/"  # of the study: the record of a trial that was trained further, or has none, by its number
NO_TRIAL = -1  # handle of an architecture that Optuna did not propose
MAX_KNOWN_IN_A_ROW = 10  # then candidates are drawn at random until one is new
MAX_IN_A_ROW = 1000


class Exhausted(Exception):  # noqa: N818 - no error: a search ends so
    """No architecture is left that is not known: the search ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """An architecture under its number; `handle` is its Optuna trial's id.

    `until` is how far it is to be trained; `record` is what is known of one that paused, None of a new one;
    `inherits` is the number of the row whose weights it starts from.
    """

    number: int
    spec: ArchSpec
    handle: int
    until: int
    record: TrialRecord | None = None
    inherits: int | None = None


class Ledger:
    """The one writer of a study. Row 0, the ladder and the run's facts are attributes of the study."""

    def __init__(
        self,
        storage: JournalStorage,
        *,
        objectives: Sequence[str],
        limits: Mapping[str, float],
        challenge: Challenge,
        baseline: ArchSpec,
        space: Space,
        sampler: SamplerConfig,
        goal: GoalWord,
        seed: int,
        population: int,
        ladder_seeds: int,
        fidelities: tuple[int, ...],
        probes: int = 0,
        least_tau: float = -1.0,
        rungs: tuple[str, ...] = RUNGS,
        start: Sequence[ArchSpec] = (),
        known: Sequence[Known] = (),
        inherit: bool = False,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.study = optuna.create_study(
            storage=storage,
            study_name=STUDY,
            directions=[GOALS[name].direction for name in objectives],
            load_if_exists=True,
        )
        self.objectives = tuple(objectives)
        self.limits = dict(limits)
        self.challenge = challenge
        self.baseline = baseline
        self.space = space
        self.seed = seed
        self.ladder_seeds = ladder_seeds
        self.fidelities = fidelities
        self.rungs = tuple(self._attr("rungs", rungs))
        named = {spec.arch_id: spec for spec in start if spec.arch_id != baseline.arch_id}
        first = len(named) + 1
        self.probes = tuple(self._attr("probes", list(range(first, first + probes))))
        self.inherit = inherit
        self.strategy = Strategy(
            space=space,
            sampler=sampler,
            goal=goal,
            baseline=baseline,
            seed=seed,
            population=int(self._attr("population", population)),
            rungs=Rungs(fidelities=fidelities, probes=self.probes, least_tau=least_tau),
            known=known,
        )
        self.records: dict[int, TrialRecord] = {}
        self.ladder: list[LadderRun] = []
        self._by_arch: dict[str, int] = {}
        self._pending: dict[int, Proposal] = {}
        self._handles: dict[int, int] = {}  # of the trials that have a record
        self._going_on: set[int] = set()  # trials that paused and are being trained further
        self._proposals = 0
        self._known = 0  # proposals in a row that were known
        self.in_a_row = 0  # rejected or known ones
        self._now: RunState | None = None
        self._load()
        self._open_start(named.values())

    def _attr(self, name: str, default: Any) -> Any:
        """A fact of the study, kept from its first session on."""
        attrs = self.study.user_attrs
        if name not in attrs:
            self.study.set_user_attr(name, default)
            return default
        return attrs[name]

    def _load(self) -> None:
        """Read the journal, settle what a kill left open."""
        self.ladder, baseline, later = read_facts(self.study)
        unanswered: list[FrozenTrial] = []
        if baseline:
            self._keep(baseline)
        for trial in self.study.get_trials(deepcopy=False):
            if ABANDONED in trial.user_attrs:
                continue
            if NUMBER not in trial.user_attrs and SAME_AS not in trial.user_attrs:
                if not trial.state.is_finished():  # killed before it had a number: it is proposed again
                    self.study._storage.set_trial_user_attr(trial._trial_id, ABANDONED, True)
                    self.study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                continue
            self._proposals += 1
            if SAME_AS in trial.user_attrs:
                self._known += 1
                self.in_a_row += 1
            else:
                self._known = 0
            if RECORD in trial.user_attrs:
                record = TrialRecord.from_json(trial.user_attrs[RECORD])
                self._handles[record.number] = trial._trial_id
                self._keep(later.pop(record.number, record))
                self.in_a_row = self.in_a_row + 1 if record.state == "rejected" else 0
                if not trial.state.is_finished():
                    self._tell(trial._trial_id, record)
            elif NUMBER in trial.user_attrs:
                unanswered.append(trial)
                spec = ArchSpec.from_json(trial.user_attrs[SPEC])
                self._by_arch.setdefault(spec.arch_id, trial.user_attrs[NUMBER])
            elif not trial.state.is_finished():
                self._answer_known(trial._trial_id, trial.user_attrs[SAME_AS])
        for record in later.values():  # those that Optuna knows nothing of
            self._keep(record)
        for trial in unanswered:
            spec = ArchSpec.from_json(trial.user_attrs[SPEC])
            inherits = trial.user_attrs.get(INHERITS)
            self._open(self._new(trial.user_attrs[NUMBER], spec, trial._trial_id, inherits))

    def _open(self, proposal: Proposal) -> None:
        self._pending[proposal.number] = proposal
        self._by_arch.setdefault(proposal.spec.arch_id, proposal.number)

    def _open_start(self, specs: Iterable[ArchSpec]) -> None:
        """Give the first numbers to what was named to start with; it may lie outside the space.

        Optuna is not told of these: given a trial without parameters its samplers would model nothing.
        """
        for number, spec in enumerate(specs, start=1):
            if number not in self.records:
                inherits = 0 if self.inherit else None
                until = self.fidelities[-1]
                self._open(
                    Proposal(number=number, spec=spec, handle=NO_TRIAL, until=until, inherits=inherits)
                )

    @property
    def pending(self) -> list[Proposal]:
        """Trials that have a number and no record, in order: what a kill interrupted, or what runs."""
        return [self._pending[number] for number in sorted(self._pending)]

    @property
    def num_counted(self) -> int:
        """Complete and failed rows other than the baseline."""
        return sum(r.number > 0 and r.state != "rejected" for r in self.records.values())

    def propose(self) -> Proposal:
        """Ask the sampler for an architecture that is not known yet and give it the next number.

        Raises:
            Exhausted: none is left, or 1,000 rejected or known ones came in a row.
        """
        while True:
            if self.in_a_row >= MAX_IN_A_ROW:
                raise Exhausted(f"the last {MAX_IN_A_ROW} proposals were all rejected or known")
            if self._known >= MAX_KNOWN_IN_A_ROW:
                self.study.enqueue_trial(self._draw_new())
            self.study.sampler = self.strategy.sampler(self.now, self._proposals, self.seen)
            trial = self.study.ask()
            spec = self.space.sample(TrialChooser(trial))
            self._proposals += 1
            if spec.arch_id in self._by_arch:
                self._known += 1
                self.in_a_row += 1
                trial.set_user_attr(SAME_AS, spec.arch_id)
                self._answer_known(trial._trial_id, spec.arch_id)
                continue
            number = 1 + max([0, *self.records, *self._pending])
            inherits = None
            if self.inherit:
                inherits = self.strategy.nearest(self.now, self._tried(), trial.params)
            proposal = self._new(number, spec, trial._trial_id, inherits)
            trial.set_user_attr(SPEC, spec.to_json())
            trial.set_user_attr(INHERITS, inherits)
            trial.set_user_attr(NUMBER, number)
            self._open(proposal)
            self._known = 0
            return proposal

    def promotion(self, *, is_last: bool) -> Proposal | None:
        """A training that paused and goes on now; None: a new one is worth more, or none has paused.

        Args:
            is_last: as `Strategy.promotion`'s.
        """
        paused = self._paused()
        if not paused:
            return None
        number = self.strategy.promotion(
            self.now,
            self._tried(),
            paused=paused,
            running=[*self._pending, *self._going_on],
            draw=self._proposals,
            is_last=is_last,
        )
        if number is None:
            return None
        self._going_on.add(number)
        until = self.strategy.rungs.next_stop(steps_of(self.records[number]), self.now)
        return self._further(number, until)

    def again(self, number: int) -> Proposal:
        """A complete trial, to be trained once more."""
        return self._further(number, self.fidelities[-1])

    def _further(self, number: int, until: int) -> Proposal:
        record = self.records[number]
        return Proposal(
            number=number,
            spec=record.spec,
            handle=self._handles.get(number, NO_TRIAL),
            until=until,
            record=record,
            inherits=record.inherits,
        )

    def _paused(self) -> list[int]:
        """Trials that were not trained to the end and wait."""
        return [
            number
            for number, record in self.records.items()
            if number in self._handles
            and number not in self._going_on
            and record.state == "complete"
            and steps_of(record) < self.fidelities[-1]
        ]

    def _new(self, number: int, spec: ArchSpec, handle: int, inherits: int | None) -> Proposal:
        until = self.strategy.rungs.next_stop(0, self.now)
        return Proposal(number=number, spec=spec, handle=handle, until=until, inherits=inherits)

    @property
    def needed(self) -> set[str]:
        """arch_id of what may still be started from: its weights are kept."""
        if not self.inherit:
            return set()
        waiting = [proposal.inherits for proposal in self._pending.values()]
        waiting += [self.records[number].inherits for number in (*self._paused(), *self._going_on)]
        rows = {0, *(number for number in waiting if number is not None)} & self.records.keys()
        return {self.records[number].spec.arch_id for number in rows}

    def screen(self, proposal: Proposal) -> Screen | None:
        """What a proposal is held to before it is trained; None: it is trained."""
        if proposal.handle == NO_TRIAL:
            return None
        expected = self.study._storage.get_trial(proposal.handle).user_attrs.get(EXPECTED)
        return None if expected is None else self.strategy.screen(self.now, self._tried(), expected)

    def record(self, proposal: Proposal, record: TrialRecord) -> None:
        """Write how a trial ended. The record comes first: a kill after it loses nothing."""
        if proposal.record is None and proposal.handle != NO_TRIAL:
            self.study._storage.set_trial_user_attr(proposal.handle, RECORD, record.to_json())
            del self._pending[proposal.number]
            self._handles[proposal.number] = proposal.handle
            self._keep(record)
            self._tell(proposal.handle, record)
        else:  # Optuna lets nobody change a finished trial
            self.study.set_user_attr(f"{LATER}{proposal.number}", record.to_json())
            self._pending.pop(proposal.number, None)
            self._going_on.discard(proposal.number)
            self._keep(record)
        self.in_a_row = self.in_a_row + 1 if record.state == "rejected" else 0

    @property
    def references(self) -> Mapping[int, float]:
        """The reference's PSNR by fidelity."""
        return self.now.yardstick.references

    def set_baseline(self, record: TrialRecord) -> None:
        self.study.set_user_attr("baseline", record.to_json())
        self._keep(record)

    def add_ladder_run(self, run: LadderRun) -> None:
        self.study.set_user_attr(f"ladder/{run.rung}/{run.seed}", json.dumps(asdict(run)))
        self.ladder.append(run)
        self._now = None

    @property
    def now(self) -> RunState:
        """The run as it stands; made once between two records."""
        if self._now is None:
            self._now = RunState(
                name="",
                challenge=self.challenge,
                objectives=self.objectives,
                limits=self.limits,
                ladder=tuple(self.ladder),
                records=tuple(self.records[number] for number in sorted(self.records)),
                settings={},
                test_psnr_db=dict(self.study.user_attrs.get("test", {})),
                ladder_seeds=self.ladder_seeds,
                rungs=self.rungs,
                probes=self.probes,
            )
        return self._now

    def state(self, name: str, settings: Mapping[str, Any], notices: Sequence[str] = ()) -> RunState:
        """The run as it is shown."""
        return replace(self.now, name=name, settings=settings, notices=tuple(notices))

    def set_test_psnr(self, psnr_db: Mapping[str, float]) -> None:
        self.study.set_user_attr("test", dict(psnr_db))
        self._now = None

    @property
    def insight(self) -> Insight:
        return self.strategy.insight(self.now)

    def seen(self, trials: Sequence[FrozenTrial] = ()) -> list[Seen]:
        """All that models learn from; Optuna's trials are the study's own."""
        return self.strategy.seen(self.now, self._tried())

    def _tried(self) -> Tried:
        trials = [t for t in self.study.get_trials(deepcopy=False) if NUMBER in t.user_attrs]
        said = {t.user_attrs[NUMBER]: t.user_attrs[EXPECTED] for t in trials if EXPECTED in t.user_attrs}
        return Tried(params={t.user_attrs[NUMBER]: t.params for t in trials}, expected=said)

    def _keep(self, record: TrialRecord) -> None:
        self.records[record.number] = record
        self._now = None
        self._by_arch.setdefault(record.spec.arch_id, record.number)

    def _draw_new(self) -> dict[str, int]:
        """Parameters of a random candidate that is not known.

        Raises:
            Exhausted: none was found.
        """
        rng = random.Random(derived_seed(self.seed, "draw", self._proposals))
        for params in draws(self.strategy.distributions, rng):
            if self.space.sample(IndexChooser(params)).arch_id not in self._by_arch:
                return params
        raise Exhausted("no architecture was found that is not known: the space is exhausted")

    def _answer_known(self, handle: int, arch_id: str) -> None:
        """Tell the sampler what is known already; no row, no training."""
        self._tell(handle, self.records.get(self._by_arch[arch_id]))

    def _tell(self, handle: int, record: TrialRecord | None) -> None:
        def expected(row: Mapping[str, Any]) -> dict[str, float]:
            return self.insight.expected(row, self.now)

        answer(self.study, handle, record, self.now, expected)


def read_facts(
    study: optuna.Study,
) -> tuple[list[LadderRun], TrialRecord | None, dict[int, TrialRecord]]:
    """The ladder and row 0 of a study, and the records of trials that were trained further, by number."""
    attrs = study.user_attrs
    runs = [LadderRun.from_json(attrs[key]) for key in sorted(attrs) if key.startswith("ladder/")]
    baseline = TrialRecord.from_json(attrs["baseline"]) if "baseline" in attrs else None
    later = [TrialRecord.from_json(attrs[key]) for key in attrs if key.startswith(LATER)]
    return runs, baseline, {record.number: record for record in later}
