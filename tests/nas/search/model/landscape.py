"""A made-up space of 240 networks whose quality and costs follow formulas, and searches over it."""

import math
from dataclasses import replace

from nas.search.model.acquisition import Acquisition
from nas.search.model.candidates import Candidate, Candidates
from nas.search.model.decisions import Decision
from nas.search.model.observations import Observation, Observations, ToldTrial

DECISIONS = (
    Decision(name="blocks", num_options=5, is_ordered=True),
    Decision(name="channels", num_options=8, is_ordered=True),
    Decision(name="attention", num_options=3, is_ordered=False),
    Decision(name="bias", num_options=2, is_ordered=False),  # without effect with one block
)
LIMIT = 1.0  # of the runtime: what exceeds it is told as a broken constraint


def describe(params):
    name = dict(params) | ({"bias": 0} if params["blocks"] == 0 else {})
    return Candidate(name=str(sorted(name.items())), costs={"params": size(params)})


def size(params):
    return float((params["blocks"] + 1) * (params["channels"] + 2) ** 2)


def quality(params):
    return 2 * (1 - math.exp(-size(params) / 80)) + (0.0, 0.15, 0.3)[params["attention"]]


def runtime(params):
    attention = (0.0, 0.01, 0.2)[params["attention"]]
    return 0.2 + size(params) / 200 + (params["blocks"] + 1) * attention


def make_candidates(**changes):
    return Candidates(**{"decisions": DECISIONS, "describe": describe, "seed": 0} | changes)


def make_acquisition(**changes):
    values = {
        "goal": "front",
        "objectives": ("psnr_gain_db", "runtime_ratio"),
        "limits": {},
        "gate_db": 0.0,
        "floor_db": 0.0,
        "score": None,
    }
    return Acquisition(**values | changes)


def observe_point(candidates, point, number=0, **changes):
    """Return what a training and a reading at a point give."""
    params = candidates.params(point)
    values = {
        "point": point,
        "quality": quality(params),
        "costs": {"runtime_ratio": runtime(params)},
        "number": number,
    }
    return Observation(**values | changes)


def make_observations(rows=(), *, candidates=None, told=(), planned_trials=24, **changes):
    """Return what a sampler is given; `changes` are the acquisition's."""
    return Observations(
        rows=list(rows),
        candidates=candidates or make_candidates(),
        acquisition=make_acquisition(**changes),
        noise_db=0.0,
        directions=("maximize", "minimize"),
        told=list(told),
        planned_trials=planned_trials,
    )


class MemorySearch:
    """A search without a study: it holds what was suggested, and what came out of it.

    Each trial is told with its quality and runtime, and with what it exceeds a runtime of LIMIT by.

    Args:
        changes: of the acquisition.
    """

    def __init__(self, *, planned_trials=24, candidates=None, **changes):
        self.candidates = candidates or make_candidates()
        self.planned_trials = planned_trials
        self.changes = changes
        self.rows = []
        self.told = []
        self.open_places = []

    @property
    def observations(self):
        return make_observations(
            self.rows,
            candidates=self.candidates,
            told=self.told,
            planned_trials=self.planned_trials,
            **self.changes,
        )

    @property
    def pending(self):
        return [self.candidates.point(self.told[place].params) for place in self.open_places]

    def ask(self, sampler, seed):
        """Return a suggestion, and hold it as an open trial; None: every candidate is known."""
        suggestion = sampler.ask(self.observations, self.pending, seed=seed)
        if suggestion is not None:
            self.open_places.append(len(self.told))
            trial = ToldTrial(params=suggestion.params, state="open", notes=suggestion.notes)
            self.told.append(trial)
        return suggestion

    def tell(self, place, *, fails=False):
        """End an open trial; one that fails is a row without a quality."""
        self.open_places.remove(place)
        trial = self.told[place]
        point, params = self.candidates.point(trial.params), trial.params
        row = observe_point(self.candidates, point, number=place)
        if fails:
            self.rows.append(replace(row, quality=None))
            self.told[place] = replace(trial, state="failed")
            return
        self.rows.append(row)
        self.told[place] = replace(
            trial,
            state="complete",
            values=(quality(params), runtime(params)),
            constraints={"runtime_ratio": runtime(params) / LIMIT - 1},
        )

    def run(self, make_sampler, count, *, num_open=0, first_seed=0):
        """Suggest so many, with a sampler that is made for each; every seventh or so fails.

        Args:
            num_open: trials that stay open; which one ends next is not their order.
        Returns:
            The suggestions; fewer where every candidate is known.
        """
        suggestions = []
        for place in range(len(self.told), len(self.told) + count):
            suggestion = self.ask(make_sampler(), first_seed + place)
            if suggestion is None:
                break
            suggestions.append(suggestion)
            if len(self.open_places) > num_open:
                ending = self.open_places[place % len(self.open_places)]
                self.tell(ending, fails=place % 7 == 3)
        return suggestions
