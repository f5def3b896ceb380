"""What sampler and screening know of a run: candidates with exact costs, rows as observations."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.analysis.columns import read_costs
from nas.analysis.ladder import rung_spec
from nas.analysis.run_state import RunState
from nas.measure.cost import summed_cost
from nas.search.fidelity.projection import Projection, projections
from nas.search.sampling.aim import Aim, GoalWord
from nas.search.sampling.decisions import Distributions, IndexChooser
from nas.search.sampling.pool import Candidate, Floats, Pool
from nas.search.sampling.proposer import Proposer, Seen
from search_spaces.chooser import Space
from search_spaces.spec import ArchSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What an earlier run found of an architecture.

    Attributes:
        gain_db: over its own reference; None where it trained on other data or with another proxy.
        costs: runtime_ratio and runtime_ms, where they were read under the same conditions.
    """

    spec: ArchSpec
    gain_db: float | None
    costs: Mapping[str, float]


class Insight:
    """A run in the words of its models.

    Args:
        state: of the run, its ladder complete: the gate is part of the aim only where it is believed.
        floor_db: the base's gain.
        known: what earlier runs found.
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
        known: Sequence[Known] = (),
    ) -> None:
        self.space = space
        self.known = known
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
        noise_db = (state.verdict and state.verdict.seed_std_db) or 0.0
        pool = Pool(distributions, self._describe, seed=seed)
        self.proposer = Proposer(pool, aim, noise_db=noise_db)

    def seen(
        self,
        state: RunState,
        params: Mapping[int, Mapping[str, int]],
        said: Mapping[int, Sequence[float]],
    ) -> list[Seen]:
        """Every record and rung of the ladder whose architecture is a candidate.

        A training that paused counts with what it is expected to reach.

        Args:
            params: of the trials, by their number; row 0 has none.
            said: mean, standard deviation and noise that were expected when a trial was proposed.
        """
        pool, needed = self.proposer.pool, self.proposer.aim.needed
        yardstick = state.yardstick  # all of this runs twice a proposal, for every record
        references = yardstick.references
        ends = self._projections(state)
        found = []
        for record in state.records:
            number = record.number
            point = pool.point(params[number]) if number in params else pool.find(record.spec.arch_id)
            if point is not None:
                quality, measured = record.quality, read_costs(record, needed)
                reference = references.get(quality.fidelity) if quality else None
                gain, std = quality.psnr_db - reference if quality and reference is not None else None, 0.0
                if quality and gain is not None and quality.fidelity in ends:
                    gain, std = ends[quality.fidelity].at(gain)
                costs = {name: measured[name] for name in needed if name in measured}
                mean_std_noise = said.get(number)
                found.append(
                    Seen(
                        point=point,
                        quality=gain,
                        std=std,
                        costs=costs,
                        number=number,
                        expected=(*mean_std_noise,) if mean_std_noise else None,  # type: ignore[arg-type]
                    )
                )
        top = yardstick.top_fidelity
        for rung in state.rungs[:-1]:  # the last one is row 0
            point = pool.find(rung_spec(rung, self.baseline.scale).arch_id)
            runs = [run.psnr_db for run in state.ladder if run.rung == rung]
            if point is not None and runs and top is not None and top in yardstick.references:
                gain = statistics.fmean(runs) - yardstick.references[top]
                found.append(Seen(point=point, quality=gain, costs={}, number=None))
        mine = {one.point for one in found}
        for earlier in self.known:
            point = pool.find(earlier.spec.arch_id)
            if point is not None and point not in mine:  # what this run read itself counts
                costs = {name: value for name, value in earlier.costs.items() if name in needed}
                found.append(Seen(point=point, quality=earlier.gain_db, costs=costs, number=None))
        return found

    def nearest(self, params: Mapping[str, int], rows: Mapping[int, Mapping[str, int]]) -> int:
        """The number of the row whose choices are likest, as the surrogate sees them.

        Args:
            rows: choices by number; row 0 is the baseline, whose are found: it is taken where no other is.
        """
        pool = self.proposer.pool
        at = {number: pool.point(choices) for number, choices in rows.items() if choices}
        if (baseline := pool.find(self.baseline.arch_id)) is not None:
            at[0] = baseline
        if not at:
            return 0
        apart = pool.encode(list(at.values())) - pool.encode([pool.point(params)])
        return list(at)[int(np.argmin((apart**2).sum(axis=1)))]

    def expected(self, row: Mapping[str, Any], state: RunState) -> dict[str, float]:
        """The PSNR columns of a row as they are expected at the end of its training."""
        top = state.yardstick.top_fidelity
        if row["fidelity"] == top or top is None:
            return {}
        gain, _ = self._projections(state)[row["fidelity"]].at(row["psnr_gain_db"])
        return {"psnr_gain_db": gain, "psnr_db": gain + state.yardstick.references[top]}

    def _projections(self, state: RunState) -> dict[int, Projection]:
        """From each rung to the end, by the ladder's trainings and the trials' own; none without rungs."""
        yardstick = state.yardstick
        curves = [run.curve for run in state.ladder]
        curves += [record.quality.curve for record in state.records if record.number and record.quality]
        known = yardstick.references
        gains = [{steps: psnr - known[steps] for steps, psnr in curve if steps in known} for curve in curves]
        return projections(gains, yardstick.top_fidelity) if yardstick.top_fidelity else {}

    def _describe(self, params: Mapping[str, int]) -> Candidate:
        spec = self.space.sample(IndexChooser(params))
        return Candidate(name=spec.arch_id, costs=summed_cost(spec))

    def _scores(self, runtime_ratio: Floats, flops: Floats, params: Floats) -> Floats:
        """Challenge scores, (N,) from (N,) each."""
        base = summed_cost(self.baseline)
        ratios = np.column_stack([runtime_ratio, flops / base["flops"], params / base["params"]])
        return np.array([self.challenge.score(*row) for row in ratios.tolist()])
