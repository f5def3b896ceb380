"""What a search does next, decided from what it has found so far."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from nas.analysis.results import front_table, table
from nas.analysis.run_state import RunState
from nas.record import TrialRecord
from nas.search.answers import base_gain
from nas.search.fidelity.rungs import Rungs
from nas.search.insight import Insight, Known
from nas.search.sampling.aim import GoalWord
from nas.search.sampling.config import SamplerConfig
from nas.search.sampling.decisions import distributions
from nas.search.sampling.proposer import Seen
from nas.search.screening import Screen
from nas.search.seeds import derived_seed
from search_spaces.chooser import Space
from search_spaces.spec import ArchSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """Trials by their number: the choices of each, and what was expected of those that a model chose."""

    params: Mapping[int, Mapping[str, int]]
    expected: Mapping[int, Sequence[float]]


class Strategy:
    """The sampler, the screen and the rungs of a search; holds nothing of what was found but its models.

    Args:
        seed: of the search.
        population: of samplers that breed.
        known: what earlier runs found.
    """

    def __init__(
        self,
        *,
        space: Space,
        sampler: SamplerConfig,
        goal: GoalWord,
        baseline: ArchSpec,
        seed: int,
        population: int,
        rungs: Rungs,
        known: Sequence[Known],
    ) -> None:
        self.space = space
        self.distributions = distributions(space)
        self.config = sampler
        self.goal = goal
        self.baseline = baseline
        self.seed = seed
        self.population = population
        self.rungs = rungs
        self.known = tuple(known)
        self._insight: Insight | None = None

    def insight(self, state: RunState) -> Insight:
        """Made when it is first asked for, once the ladder is complete: its verdict counts."""
        if self._insight is None:
            self._insight = Insight(
                self.space,
                self.distributions,
                state,
                goal=self.goal,
                baseline=self.baseline,
                floor_db=base_gain(state),
                seed=derived_seed(self.seed, "pool"),
                known=self.known,
            )
        return self._insight

    def seen(self, state: RunState, tried: Tried) -> list[Seen]:
        return self.insight(state).seen(state, tried.params, tried.expected)

    def sampler(
        self, state: RunState, draw: int, look: Callable[[Sequence[FrozenTrial]], list[Seen]]
    ) -> BaseSampler:
        """The sampler of the search's proposal `draw`, counted from 0."""
        return self.config.make(
            seed=derived_seed(self.seed, "sampler", draw),
            population=self.population,
            space=self.distributions,
            proposer=self.insight(state).proposer,
            look=look,
        )

    def screen(self, state: RunState, tried: Tried, expected: Sequence[float]) -> Screen | None:
        """What a trial is held to before it is trained, by what is known now; None: it is trained.

        Args:
            expected: mean, standard deviation and noise of its quality, as they were said.
        """
        if self.config.screen is None:
            return None
        seen = self.seen(state, tried)
        return Screen.of(self.insight(state).proposer, seen, expected, self.config.screen)

    def promotion(
        self,
        state: RunState,
        tried: Tried,
        *,
        paused: Sequence[int],
        running: Sequence[int],
        draw: int,
        is_last: bool,
    ) -> int | None:
        """The number of the paused trial whose training goes on now.

        It is a probe's turn, or one is worth more a step than a new one; None: a new one is worth more.

        Args:
            is_last: no new one is wanted: what is expected to be on the front is trained to the end, and
                then the probes.
        """
        reached = {record.number: steps_of(record) for record in state.records if record.number > 0}
        probe = self.rungs.due_probe(reached, paused)
        if probe is not None:
            return probe
        top, proposer = self.rungs.fidelities[-1], self.insight(state).proposer
        at = {number: proposer.pool.point(params) for number, params in tried.params.items()}
        points = {proposer.pool.canonical(at[number]): number for number in paused}
        chosen = proposer.promotion(
            self.seen(state, tried),
            [at[number] for number in running if number in at],
            {point: float(top - reached[number]) for point, number in points.items()},
            steps_new=None if is_last else float(top),
            takes_best=self.config.kind == "cost_aware",
            seed=derived_seed(self.seed, "sampler", draw),
        )
        if chosen is not None:
            return points[chosen]
        return self.rungs.due_probe(reached, paused, is_last=True) if is_last else None

    def nearest(self, state: RunState, tried: Tried, params: Mapping[str, int]) -> int:
        """The row whose weights suit an architecture best: of the front, or row 0 of the ladder."""
        members = {0, *front_table(table(state))["number"].tolist()}
        rows = {number: tried.params.get(number, {}) for number in sorted(members)}
        return self.insight(state).nearest(params, rows)


def steps_of(record: TrialRecord) -> int:
    """How far a trial was trained."""
    return record.quality.fidelity if record.quality else 0
