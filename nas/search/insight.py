"""What sampler and screening know of a run: candidates with exact costs, rows as observations."""

import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from nas.ladder import LadderRun, reference_db, rung_names, rung_spec
from nas.measure.cost import summed_cost
from nas.record import TrialRecord
from nas.results import RunState
from nas.search.sampling.aim import Aim, GoalWord
from nas.search.sampling.decisions import Distributions, IndexChooser
from nas.search.sampling.pool import Candidate, Floats, Pool
from nas.search.sampling.proposer import Proposer, Seen
from search_spaces.chooser import Space
from search_spaces.spec import ArchSpec


class Insight:
    """A run in the words of its models.

    Args:
        state: of the run, its ladder complete: the gate is part of the aim only where it is believed.
        floor_db: the base's gain.
        seed: of what is drawn: a large space's sample, the points to start with.
    """

    def __init__(
        self,
        space: Space,
        distributions: Distributions,
        state: RunState,
        *,
        goal: GoalWord,
        baseline: ArchSpec,
        floor_db: float,
        seed: int,
    ) -> None:
        self.space = space
        self.challenge = state.challenge
        self.baseline = baseline
        gate = state.challenge.gate.min_gain_db
        aim = Aim(
            goal=goal,
            objectives=state.objectives,
            limits=state.limits,
            gate_db=gate,
            floor_db=gate if state.can_rank else floor_db,
            score=self._scores,
        )
        self.proposer = Proposer(Pool(distributions, self._describe, seed=seed), aim)

    def seen(
        self, records: Mapping[int, TrialRecord], params: Mapping[int, Mapping[str, int]], state: RunState
    ) -> list[Seen]:
        """Every record and rung of the ladder whose architecture is a candidate.

        Args:
            params: of the trials, by their number; row 0 has none.
        """
        pool, needed = self.proposer.pool, self.proposer.aim.needed
        references = _references(state.ladder)  # all of this runs twice a proposal, for every record
        found = []
        for number, record in records.items():
            point = pool.point(params[number]) if number in params else pool.find(record.spec.arch_id)
            if point is not None:
                quality, measured = record.quality, record.costs
                reference = references.get(quality.fidelity) if quality else None
                gain = quality.psnr_db - reference if quality and reference is not None else None
                costs = {name: measured[name] for name in needed if name in measured}
                found.append(Seen(point=point, quality=gain, costs=costs, number=number))
        for rung in rung_names()[:-1]:  # the last one is row 0
            point = pool.find(rung_spec(rung, self.baseline.scale).arch_id)
            runs = [run.psnr_db for run in state.ladder if run.rung == rung]
            if point is not None and runs:
                gain = statistics.fmean(runs) - reference_db(state.ladder)
                found.append(Seen(point=point, quality=gain, costs={}, number=None))
        return found

    def _describe(self, params: Mapping[str, int]) -> Candidate:
        spec = self.space.sample(IndexChooser(params))
        return Candidate(name=spec.arch_id, costs=summed_cost(spec))

    def _scores(self, runtime_ratio: Floats, flops: Floats, params: Floats) -> Floats:
        """Challenge scores, (N,) from (N,) each."""
        base = summed_cost(self.baseline)
        ratios = np.column_stack([runtime_ratio, flops / base["flops"], params / base["params"]])
        return np.array([self.challenge.score(*row) for row in ratios.tolist()])


def _references(ladder: Sequence[LadderRun]) -> dict[int, float]:
    """The last rung's PSNR by fidelity: a gain is to the reference of its fidelity."""
    fidelities = {run.fidelity for run in ladder if run.rung == rung_names()[-1]}
    return {
        fidelity: reference_db([run for run in ladder if run.fidelity == fidelity]) for fidelity in fidelities
    }
