"""What is evaluated next: a new architecture, or a paused training that goes on."""

import random
from collections.abc import Sequence

import numpy as np

from nas.analysis.results import front_table, table
from nas.search.fidelity.rungs import Rungs
from nas.search.model.acquisition import GoalWord
from nas.search.model.candidates import Point
from nas.search.model.decisions import IndexChooser, draw_params
from nas.search.model.observations import Observations
from nas.search.model.rating import list_untried, rate_points, subsample_points
from nas.search.observer import EarlierResult, Observer
from nas.search.samplers.base import Sampler, Suggestion
from nas.search.screening import Screen
from nas.search.store.study import Study
from nas.search.store.trials import OpenTrial, steps_of
from nas.system.seeds import derived_seed
from search_spaces.chooser import Space

MAX_KNOWN_IN_A_ROW = 10  # then architectures are drawn at random until one is new
MAX_FRUITLESS_IN_A_ROW = 1000  # rejected or known: then the search ends


class Exhausted(Exception):  # noqa: N818 - no error: a search ends so
    """No architecture is left that is not known: the search ends."""


class Asker:
    """Asks the sampler until an architecture is new, and says which paused training goes on.

    Args:
        seed: of the search; the seed of a suggestion follows from it and the number of those
            before.
        inherit: each architecture starts from the weights of the likest network of the front.
    """

    def __init__(
        self,
        study: Study,
        space: Space,
        sampler: Sampler,
        observer: Observer,
        rungs: Rungs,
        *,
        seed: int,
        inherit: bool = False,
    ) -> None:
        self.study = study
        self.space = space
        self.sampler = sampler
        self.observer = observer
        self.rungs = rungs
        self.seed = seed
        self.inherit = inherit

    @classmethod
    def over(
        cls,
        study: Study,
        space: Space,
        sampler: Sampler,
        *,
        goal: GoalWord,
        fidelities: Sequence[int],
        seed: int,
        least_tau: float = -1.0,
        earlier: Sequence[EarlierResult] = (),
        inherit: bool = False,
    ) -> "Asker":
        """Return an asker over a study, with the observer and the rungs that it needs.

        Args:
            goal: what the cost-aware sampler is after.
            fidelities: training steps at which trainings are read, rising.
            least_tau: rank agreement of a rung below which trainings do not pause there.
            earlier: what earlier runs found.
        """
        return cls(
            study,
            space,
            sampler,
            Observer(space, goal=goal, seed=derived_seed(seed, "pool"), earlier=earlier),
            Rungs(fidelities=tuple(fidelities), probes=study.probes, least_tau=least_tau),
            seed=seed,
            inherit=inherit,
        )

    def ask(self) -> OpenTrial:
        """Open a trial of an architecture that is not known yet.

        Raises:
            Exhausted: none is left, or too many rejected or known ones came in a row.
        """
        while True:
            if self.study.num_fruitless_in_a_row >= MAX_FRUITLESS_IN_A_ROW:
                raise Exhausted(
                    f"the last {MAX_FRUITLESS_IN_A_ROW} proposals were all rejected or known"
                )
            suggestion = self._suggest()
            spec = self.space.sample(IndexChooser(suggestion.params))
            is_new = not self.study.knows(spec.arch_id)
            inherits = self._find_parent(suggestion) if self.inherit and is_new else None
            trial = self.study.open(suggestion, spec, inherits=inherits)
            if trial is not None:
                return trial

    def find_stop(self, trial: OpenTrial) -> int:
        """Return the step up to which a trial is trained now."""
        if trial.suggestion is None:  # named to start with
            return self.rungs.fidelities[-1]
        reached = steps_of(trial.record) if trial.record else 0
        if reached >= self.rungs.fidelities[-1]:
            return self.rungs.fidelities[-1]
        return self.rungs.next_stop(reached, self.study.state)

    def make_screen(self, trial: OpenTrial) -> Screen | None:
        """Return what a trial is held to before it is trained, by what is known now.

        None: it is trained.
        """
        suggestion = trial.suggestion
        if suggestion is None or suggestion.predicted is None or suggestion.max_deviations is None:
            return None
        return Screen.of(
            self.observer.observe(self.study), suggestion.predicted, suggestion.max_deviations
        )

    def resume(self, *, is_last: bool) -> OpenTrial | None:
        """Open the paused trial whose training goes on now.

        A probe, or one worth more a step than a new one.

        Args:
            is_last: no new one is wanted: what is expected to be on the front is trained to the
                end, and then the probes.
        Returns:
            None: a new one is worth more, or none has paused.
        """
        full_steps = self.rungs.fidelities[-1]
        paused = self.study.list_paused(full_steps)
        if not paused:
            return None

        reached = {
            number: steps_of(record) for number, record in self.study.records.items() if number > 0
        }
        number = self.rungs.due_probe(reached, paused)
        if number is None:
            number = self._find_promising(
                {n: full_steps - reached[n] for n in paused}, is_last=is_last
            )
        if number is None and is_last:
            number = self.rungs.due_probe(reached, paused, is_last=True)
        return None if number is None else self.study.resume(number)

    def _suggest(self) -> Suggestion:
        """Ask the sampler; draw at random where it knows of nothing new."""
        study = self.study
        if study.num_known_in_a_row < MAX_KNOWN_IN_A_ROW:
            pending = [
                self.observer.candidates.point(trial.suggestion.params)
                for trial in study.pending
                if trial.suggestion
            ]
            suggestion = self.sampler.ask(
                self.observer.observe(study), pending, seed=self._make_seed()
            )
            if suggestion is not None:
                self._check_suggestion(suggestion)
                return suggestion
        return self._draw_new()

    def _check_suggestion(self, suggestion: object) -> None:
        """Refuse what is no suggestion of this space: a sampler may be anybody's.

        Raises:
            ValueError: it says what is wrong with it, and what is expected.
        """
        who = f"sampler: {type(self.sampler).__name__}.ask returned"
        if not isinstance(suggestion, Suggestion):
            raise ValueError(
                f"{who} an object of {type(suggestion).__name__}; return a Suggestion, or None "
                "where every candidate is known"
            )

        params = suggestion.params
        sizes = {one.name: one.num_options for one in self.observer.candidates.decisions}
        if params.keys() != sizes.keys():
            others = sorted(params.keys() ^ sizes.keys())
            raise ValueError(
                f"{who} params that differ from the space's decisions in {', '.join(others)}; "
                f"give an index for each of {', '.join(sizes)}"
            )
        for name, size in sizes.items():
            if params[name] not in range(size):
                raise ValueError(
                    f"{who} {name}={params[name]!r}; it must be a whole number from 0 to "
                    f"{size - 1}, the place of one of its {size} options"
                )

    def _draw_new(self) -> Suggestion:
        """Draw an architecture that is not known at random.

        Raises:
            Exhausted: none was found.
        """
        rng = random.Random(derived_seed(self.seed, "draw", len(self.study.told)))
        for params in draw_params(self.observer.candidates.decisions, rng):
            if not self.study.knows(self.space.sample(IndexChooser(params)).arch_id):
                return Suggestion(params=params)
        raise Exhausted("no architecture was found that is not known: the space is exhausted")

    def _find_parent(self, suggestion: Suggestion) -> int:
        """Return the row whose weights suit a suggestion best: of the front, or row 0."""
        members = {0, *front_table(table(self.study.state))["number"].tolist()}
        suggestions = self.study.suggestions
        rows = {
            number: suggestions[number].params
            for number in sorted(members)
            if number in suggestions
        }
        return self.observer.find_nearest(suggestion.params, rows, self.study.rules.baseline)

    def _find_promising(self, steps_left: dict[int, int], *, is_last: bool) -> int | None:
        """Return the paused trial that is expected to bring most a step.

        None: a new one is worth more.
        """
        observations = self.observer.observe(self.study)
        candidates, suggestions = observations.candidates, self.study.suggestions
        points = {
            candidates.canonical(candidates.point(suggestions[number].params)): number
            for number in steps_left
        }
        pending = self._list_running_points()
        untried: list[Point] = []
        if not is_last:
            untried = subsample_points(
                list_untried(observations, pending), observations, self._make_seed()
            )

        # Where no new one is wanted, each counts as if it came out as predicted.
        rating = rate_points(
            [*points, *untried], observations, pending, seed=self._make_seed(), is_certain=is_last
        )
        per_step = rating.values[: len(points)] / np.array(
            [float(steps_left[n]) for n in points.values()]
        )
        value_of_new = self._rate_new(observations, rating.values[len(points) :])
        best = int(np.argmax(per_step))
        return list(points.values())[best] if per_step[best] > value_of_new else None

    def _rate_new(self, observations: Observations, values: np.ndarray) -> float:
        """Return what a new architecture is expected to bring a step, as the sampler would choose
        it.
        """
        if not len(values):
            return 0.0
        value = values.max() if self.sampler.picks_best else values.mean()
        return float(value) / self.rungs.fidelities[-1]

    def _list_running_points(self) -> list[Point]:
        """List the points of all that is being evaluated."""
        suggestions = {trial.number: trial.suggestion for trial in self.study.pending}
        suggestions |= dict(self.study.suggestions)
        chosen = [suggestions.get(number) for number in self.study.running]
        return [self.observer.candidates.point(one.params) for one in chosen if one is not None]

    def _make_seed(self) -> int:
        """Return the seed of the next suggestion."""
        return derived_seed(self.seed, "sampler", len(self.study.told))
