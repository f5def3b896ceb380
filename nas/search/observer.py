"""Turns a study into what samplers learn from: rows as points, with what the run is after."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.analysis.columns import GOALS, read_costs
from nas.analysis.ladder import rung_spec
from nas.analysis.run_state import RunState
from nas.measure.cost import summed_cost
from nas.record import TrialRecord
from nas.search.fidelity.end import project_ends
from nas.search.fidelity.projection import Projection
from nas.search.model.acquisition import Acquisition, GoalWord
from nas.search.model.candidates import Candidate, Candidates, Floats, Point
from nas.search.model.decisions import IndexChooser, read_decisions
from nas.search.model.observations import Observation, Observations
from nas.search.store.study import Study
from nas.search.store.told_values import find_base_gain
from search_spaces.chooser import Space
from search_spaces.spec import ArchSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierResult:
    """What an earlier run found of an architecture.

    Attributes:
        gain_db: over its own reference; None where it trained on other data or with another proxy.
        costs: runtime_ratio and runtime_ms, where they were read under the same conditions.
    """

    spec: ArchSpec
    gain_db: float | None
    costs: Mapping[str, float]


class Observer:
    """Observes a study; the acquisition is fixed at the first look, once the ladder is complete.

    Args:
        space: its architectures are the candidates.
        goal: what the search is after; see `Acquisition`.
        seed: of what is drawn: a large space's sample, the points to start with.
        earlier: what earlier runs found.
    """

    def __init__(
        self, space: Space, *, goal: GoalWord, seed: int, earlier: Sequence[EarlierResult] = ()
    ) -> None:
        self.space = space
        self.goal = goal
        self.earlier = tuple(earlier)
        self.candidates = Candidates(read_decisions(space), self._describe, seed=seed)
        self._acquisition: Acquisition | None = None
        self._noise_db = 0.0
        self._known: dict[int, tuple[TrialRecord, Observation]] = {}  # by number
        self._ladder_points: dict[str, Point | None] = {}  # by size

    def observe(self, study: Study) -> Observations:
        """Return all that a sampler is given."""
        state = study.state
        acquisition = self._fix_acquisition(study)
        rows = [
            *self._observe_rows(study),
            *self._observe_ladder(state, study.rules.baseline.scale),
        ]

        # What this run found itself counts; earlier runs tell of the rest.
        own = {row.point for row in rows} if self.earlier else set()
        for result in self.earlier:
            point = self.candidates.find(result.spec.arch_id)
            if point is not None and point not in own:
                costs = {
                    name: value
                    for name, value in result.costs.items()
                    if name in acquisition.needed
                }
                rows.append(
                    Observation(point=point, quality=result.gain_db, costs=costs, number=None)
                )

        return Observations(
            rows=rows,
            candidates=self.candidates,
            acquisition=acquisition,
            noise_db=self._noise_db,
            directions=tuple(GOALS[name].direction for name in state.objectives),
            told=study.told,
            planned_trials=study.planned_trials,
        )

    def find_nearest(
        self, params: Mapping[str, int], rows: Mapping[int, Mapping[str, int]], baseline: ArchSpec
    ) -> int:
        """Return the number of the row whose choices are likest, as the surrogate sees them.

        Args:
            rows: parameters by number; row 0 needs none, it is taken where no other row has any.
        """
        points = {
            number: self.candidates.point(choices) for number, choices in rows.items() if choices
        }
        if (point := self.candidates.find(baseline.arch_id)) is not None:
            points[0] = point
        if not points:
            return 0
        encoded = self.candidates.encode(list(points.values()))
        offsets = encoded - self.candidates.encode([self.candidates.point(params)])
        return list(points)[int(np.argmin((offsets**2).sum(axis=1)))]

    def _fix_acquisition(self, study: Study) -> Acquisition:
        """Return what the run is after: the gate is part of it only where the ladder passes."""
        if self._acquisition is None:
            state, rules = study.state, study.rules
            gate_db = rules.challenge.gate.min_gain_db

            def score(runtime_ratio: Floats, flops: Floats, params: Floats) -> Floats:
                """Return challenge scores, (N,) from (N,) each."""
                base = summed_cost(rules.baseline)
                ratios = np.column_stack(
                    [runtime_ratio, flops / base["flops"], params / base["params"]]
                )
                return np.array([rules.challenge.score(*row) for row in ratios.tolist()])

            self._acquisition = Acquisition(
                goal=self.goal,
                objectives=state.objectives,
                limits=state.limits,
                gate_db=gate_db,
                floor_db=gate_db if state.can_rank else find_base_gain(state),
                score=score,
            )
            self._noise_db = (state.verdict and state.verdict.seed_std_db) or 0.0
        return self._acquisition

    def _observe_rows(self, study: Study) -> Iterator[Observation]:
        """Yield the rows that are candidates; a paused one with what it is expected to reach."""
        assert self._acquisition is not None
        needed, ends = self._acquisition.needed, project_ends(study.state)
        references, suggestions = study.state.yardstick.references, study.suggestions

        for record in study.state.records:
            # A whole training means the same for ever: of a thousand rows few are new.
            is_whole = record.quality is None or record.quality.fidelity not in ends
            known = self._known.get(record.number)
            if is_whole and known is not None and known[0] is record:
                yield known[1]
                continue

            suggestion = suggestions.get(record.number)
            if suggestion is not None:
                point = self.candidates.point(suggestion.params)
            elif (found := self.candidates.find(record.spec.arch_id)) is not None:
                point = found
            else:
                continue
            quality, std = _read_quality(record, references, ends)
            observation = Observation(
                point=point,
                quality=quality,
                std=std,
                costs=read_costs(record, needed),
                number=record.number,
                predicted=suggestion.predicted if suggestion else None,
            )
            if is_whole:
                self._known[record.number] = record, observation
            yield observation

    def _observe_ladder(self, state: RunState, scale: int) -> Iterator[Observation]:
        """Yield the ladder's sizes that are candidates; the last one is row 0."""
        yardstick = state.yardstick
        top = yardstick.top_fidelity
        for size in state.rungs[:-1]:
            if size not in self._ladder_points:
                arch_id = rung_spec(size, scale).arch_id
                self._ladder_points[size] = self.candidates.find(arch_id)
            point = self._ladder_points[size]
            psnrs = [run.psnr_db for run in state.ladder if run.rung == size]
            if point is not None and psnrs and top is not None and top in yardstick.references:
                gain_db = statistics.fmean(psnrs) - yardstick.references[top]
                yield Observation(point=point, quality=gain_db, costs={}, number=None)

    def _describe(self, params: Mapping[str, int]) -> Candidate:
        spec = self.space.sample(IndexChooser(params))
        return Candidate(name=spec.arch_id, costs=summed_cost(spec))


def _read_quality(
    record: TrialRecord, references: Mapping[int, float], ends: Mapping[int, Projection]
) -> tuple[float | None, float]:
    """Return a row's gain at the end of a whole training in dB, and its standard deviation."""
    quality = record.quality
    reference_db = references.get(quality.fidelity) if quality else None
    if quality is None or reference_db is None:
        return None, 0.0
    gain_db = quality.psnr_db - reference_db
    if quality.fidelity in ends:
        return ends[quality.fidelity].at(gain_db)
    return gain_db, 0.0
