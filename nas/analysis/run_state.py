"""A run as it was read from its journal, and the yardstick by which its rows are measured."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from nas.analysis.ladder import RUNGS, LadderRun, Verdict, judge, references
from nas.analysis.lasting import LongerPlan
from nas.analysis.longer_ladder import judge_longer, list_longer_sizes
from nas.analysis.training import Trained
from nas.analysis.trust import Agreement, Trust, agreement, measure_trust
from nas.record import TrialRecord
from nas.score import Challenge
from nas.system.schema.schema_rules import Amount, Count, Decibels


@dataclass(frozen=True, slots=True, kw_only=True)
class Yardstick:
    """What a row is compared with.

    Attributes:
        baseline: row 0; None until it was measured.
        can_rank: whether the ladder passes.
        references: PSNR in dB of the reference network, by training steps.
        top_fidelity: training steps of the ladder, which are those of a whole training; None
            before the ladder has begun.
    """

    baseline: TrialRecord | None
    can_rank: bool
    references: Mapping[int, float]
    top_fidelity: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrained:
    """A member of the front that `nas trust` trained longer after the search.

    Attributes:
        fidelity, psnr_db: training steps and PSNR in the search.
        steps, long_psnr_db: training steps and PSNR of the longer training.
        seconds: duration of the longer training.
    """

    number: Count
    arch_id: str
    fidelity: Count
    psnr_db: Decibels
    steps: Count
    long_psnr_db: Decibels
    seconds: Amount


@dataclass(frozen=True, kw_only=True)  # without slots: cached properties need a __dict__
class RunState:
    """Everything that the tables and the report are computed from.

    Attributes:
        objectives: one to four names of `nas.analysis.columns.GOALS`.
        limits: upper limits, by column.
        records: ordered by number; number 0 is the baseline.
        settings: are shown, never computed with.
        test_psnr_db: PSNR on the test set, by arch_id.
        trained: what whole trainings came to, by arch_id.
        ladder_seeds: trainings of each rung that make a ladder complete.
        probes: numbers of the trials that are trained to the end whatever their rungs promise.
        lr_origins: how the LR images were made, in words, by data role.
        rungs: sizes of the ladder, smallest first; the last is the reference of every gain.
        longer_plan: how long the ladder's sizes are trained a second time.
        longer_ladder: these trainings, at most one a size.
        memo: results computed once for this state, by name; `dataclasses.replace` starts it anew.
    """

    name: str
    challenge: Challenge
    objectives: tuple[str, ...]
    limits: Mapping[str, float]
    ladder: tuple[LadderRun, ...]
    records: tuple[TrialRecord, ...]
    settings: Mapping[str, Any]
    notices: tuple[str, ...] = ()
    test_psnr_db: Mapping[str, float] = field(default_factory=dict)
    ladder_seeds: int = 1
    probes: tuple[int, ...] = ()
    retrained: tuple[Retrained, ...] = ()
    trained: Mapping[str, Trained] = field(default_factory=dict)
    lr_origins: Mapping[str, str] = field(default_factory=dict)
    rungs: tuple[str, ...] = RUNGS
    longer_plan: LongerPlan = field(default_factory=LongerPlan)
    longer_ladder: tuple[LadderRun, ...] = ()
    memo: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def verdict(self) -> Verdict | None:
        """The ladder's verdict; None while it is not complete, longer trainings included."""
        verdict = self.brief_verdict
        if verdict is None or not self.longer_plan.steps:
            return verdict
        trained = {run.rung for run in self.longer_ladder}
        if not trained >= {*list_longer_sizes(verdict, self.rungs)}:
            return None
        from_parent = self.longer_plan.from_parent
        return judge_longer(
            verdict, self.ladder, self.longer_ladder, self.rungs, from_parent=from_parent
        )

    @cached_property
    def brief_verdict(self) -> Verdict | None:
        """The verdict by the trainings of the proxy's length alone; None while some are missing."""
        # Each rung needs all of its seeds: a verdict of half a ladder could turn round.
        num_runs = Counter(run.rung for run in self.ladder)
        if any(num_runs[rung] < self.ladder_seeds for rung in self.rungs):
            return None
        return judge(self.ladder, -self.challenge.gate.min_gain_db, self.rungs)

    @property
    def can_rank(self) -> bool:
        """Whether the ladder passes, so that the PSNR gate and the scores mean something."""
        verdict = self.verdict
        return verdict is not None and verdict.passes

    @cached_property
    def yardstick(self) -> Yardstick:
        """What the rows of this run are compared with."""
        return Yardstick(
            baseline=next((record for record in self.records if record.number == 0), None),
            can_rank=self.can_rank,
            references=references(self.ladder, self.rungs[-1]),
            top_fidelity=self._top_fidelity,
        )

    @cached_property
    def trust(self) -> Trust:
        """Rank agreement between fidelities, and the noise of seeds at each of them."""
        ladder = [(run.rung, {**dict(run.curve), run.fidelity: run.psnr_db}) for run in self.ladder]

        # Agreement is read from trainings that nobody stopped: a search goes on with what did
        # well at a rung, and such networks agree less than networks at large.
        first_seeds = {
            run.rung: curve
            for run, (_, curve) in zip(self.ladder, ladder, strict=True)
            if run.seed == 0
        }
        probes = {
            str(record.number): dict(record.quality.curve)
            for record in self.records
            if record.number in self.probes
            and record.quality
            and record.quality.fidelity == self._top_fidelity
        }
        return measure_trust(first_seeds | probes, ladder)

    @cached_property
    def retrained_agreement(self) -> Agreement | None:
        """Rank agreement of the search with the longer trainings; None where there were none."""
        if not self.retrained:
            return None
        first = self.retrained[0]
        pairs = [(member.psnr_db, member.long_psnr_db) for member in self.retrained]
        return agreement(pairs, lower=first.fidelity, upper=first.steps)

    @property
    def _top_fidelity(self) -> int | None:
        return max((run.fidelity for run in self.ladder), default=None)
