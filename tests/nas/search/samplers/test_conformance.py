"""What holds for every sampler: a suggestion follows from the arguments, and from nothing else."""

import dataclasses
import doctest
import json

import pytest

from nas.search.samplers import base
from nas.search.samplers.base import Sampler, Suggestion
from nas.search.samplers.cost_aware import CostAware
from nas.search.samplers.evolution import Evolution
from nas.search.samplers.optuna_samplers import GP, NSGA2, TPE
from nas.search.samplers.random import Random
from nas.search.store.facts import read_suggestion, write_suggestion
from tests.nas.search.model.landscape import DECISIONS, MemorySearch

# Starts are short, so that models and generations come within few trials.
SAMPLERS = {
    "cost_aware": lambda: CostAware(startup=5, screen=3.0),
    "evolution": lambda: Evolution(population=4, startup=5),
    "random": lambda: Random(),
    "nsga2": lambda: NSGA2(population=4),
    "tpe": lambda: TPE(startup=5),
    "gp": lambda: GP(startup=5),
}
NUM_TRIALS = {"nsga2": 30, "evolution": 30}  # generations; the others are past their start at 9

each_sampler = pytest.mark.parametrize("name", SAMPLERS)
each_num_open = pytest.mark.parametrize("num_open", [0, 3])


def count_trials(name):
    return NUM_TRIALS.get(name, 9)


def restart(search):
    """Return a search as it is after a restart: what was noted has been through JSON."""
    again = MemorySearch()
    again.rows, again.open_places = [*search.rows], [*search.open_places]
    for trial in search.told:
        kept = json.loads(json.dumps(dict(trial.notes), allow_nan=False))
        again.told.append(dataclasses.replace(trial, notes=kept))
    return again


def turn_upside_down(search):
    """Return a search of the same suggestions in which the best quality came out worst."""
    other = MemorySearch()
    other.rows = [
        row if row.quality is None else dataclasses.replace(row, quality=2 - row.quality)
        for row in search.rows
    ]
    other.told = [
        trial
        if trial.values is None
        else dataclasses.replace(trial, values=(2 - trial.values[0], trial.values[1]))
        for trial in search.told
    ]
    return other


class AlwaysSame:
    """Suggests one trial again and again."""

    def __init__(self, trial):
        self.suggestion = Suggestion(params=trial.params, notes=trial.notes)

    def ask(self, observations, pending, *, seed):
        return self.suggestion


@each_sampler
def test_it_follows_the_protocol(name):
    sampler = SAMPLERS[name]()
    assert isinstance(sampler, Sampler)
    assert isinstance(sampler.picks_best, bool)
    assert sampler == SAMPLERS[name]()  # a value: what it holds beside its keys does not count


@each_sampler
@each_num_open
def test_suggestions_are_valid_params_and_json(name, num_open):
    suggestions = MemorySearch().run(SAMPLERS[name], count_trials(name), num_open=num_open)
    assert len(suggestions) == count_trials(name)
    for suggestion in suggestions:
        assert suggestion.params.keys() == {decision.name for decision in DECISIONS}
        for decision in DECISIONS:
            assert type(suggestion.params[decision.name]) is int
            assert 0 <= suggestion.params[decision.name] < decision.num_options
        kept = json.loads(json.dumps(write_suggestion(suggestion), allow_nan=False))
        assert read_suggestion(suggestion.params, {"suggestion": kept}) == suggestion


@each_sampler
@each_num_open
def test_a_fresh_sampler_suggests_what_one_that_was_kept_does(name, num_open):
    """What a search relies on that was killed and goes on."""
    kept = SAMPLERS[name]()
    fresh_search, kept_search = MemorySearch(), MemorySearch()
    fresh = fresh_search.run(SAMPLERS[name], count_trials(name), num_open=num_open)
    assert fresh == kept_search.run(lambda: kept, count_trials(name), num_open=num_open)
    if name == "nsga2":
        assert fresh[-1].notes["generation"] >= 3


@each_sampler
def test_a_search_that_starts_again_anywhere_goes_on_alike(name):
    whole = MemorySearch().run(SAMPLERS[name], count_trials(name), num_open=3)
    for stop in (2, count_trials(name) // 2, count_trials(name) - 2):
        search = MemorySearch()
        before = search.run(SAMPLERS[name], stop, num_open=3)
        after = restart(search).run(SAMPLERS[name], count_trials(name) - stop, num_open=3)
        assert before + after == whole


@each_sampler
def test_the_same_arguments_give_the_same_suggestion(name):
    search, sampler = MemorySearch(), SAMPLERS[name]()
    search.run(lambda: sampler, count_trials(name), num_open=2)
    seeds = range(4)
    first = [sampler.ask(search.observations, search.pending, seed=seed) for seed in seeds]
    again = [sampler.ask(search.observations, search.pending, seed=seed) for seed in seeds]
    assert again == first
    assert len({tuple(one.params.values()) for one in first}) > 1 or sampler.picks_best


@each_sampler
def test_a_sampler_that_served_another_search_suggests_what_a_fresh_one_does(name):
    """Nothing of the other search is left, though its trials were as many and have ended too."""
    served = SAMPLERS[name]()
    MemorySearch().run(lambda: served, count_trials(name) - 1, first_seed=1000)
    search = MemorySearch()
    search.run(SAMPLERS[name], count_trials(name))
    fresh = SAMPLERS[name]().ask(search.observations, [], seed=7)
    assert served.ask(search.observations, [], seed=7) == fresh


@each_sampler
def test_the_same_params_with_other_outcomes_are_another_search(name):
    """Two searches of one seed start alike: the outcomes of one are not taken for the other's."""
    served, search = SAMPLERS[name](), MemorySearch()
    search.run(lambda: served, count_trials(name))
    other = turn_upside_down(search)

    # Told of what it suggested last, as the first search would.
    for held in (search, other):
        assert held.ask(served if held is search else AlwaysSame(search.told[-1]), 7) is not None
        held.tell(held.open_places[-1])
    fresh = SAMPLERS[name]().ask(other.observations, [], seed=8)
    assert served.ask(other.observations, [], seed=8) == fresh


@each_sampler
def test_another_seed_starts_another_search(name):
    if name in ("cost_aware", "evolution"):
        pytest.skip("its first points are the candidates' spread; see test_candidates")
    first, other = (MemorySearch().run(SAMPLERS[name], 5, first_seed=seed) for seed in (0, 1000))
    assert [one.params for one in first] != [one.params for one in other]


@pytest.mark.parametrize("name", ["cost_aware", "evolution"])
@each_num_open
def test_what_is_pending_or_known_is_not_suggested(name, num_open):
    search = MemorySearch()
    canonical = search.candidates.canonical
    for seed in range(20):
        known = {canonical(row.point) for row in search.rows}
        pending = {canonical(point) for point in search.pending}
        suggestion = search.ask(SAMPLERS[name](), seed)
        assert canonical(search.candidates.point(suggestion.params)) not in known | pending
        if len(search.open_places) > num_open:
            search.tell(search.open_places[seed % len(search.open_places)], fails=seed % 7 == 3)


@pytest.mark.parametrize("name", ["cost_aware", "evolution"])
def test_none_is_said_where_every_candidate_is_known_or_pending(name):
    search = MemorySearch()
    everything = search.candidates.list_points([])
    observations = dataclasses.replace(search.observations, rows=[])
    assert SAMPLERS[name]().ask(observations, everything, seed=0) is None
    (left,) = {
        SAMPLERS[name]().ask(observations, everything[1:], seed=seed).params["channels"]
        for seed in range(3)
    }
    assert left == everything[0][1]


@pytest.mark.parametrize(
    ("make", "keys", "message"),
    [
        (CostAware, {"startup": 0, "screen": 3.0}, "sampler.startup must be at least 1, got 0"),
        (
            CostAware,
            {"startup": 6, "screen": 0.0},
            "sampler.screen must be above 0, got 0; 3 is usual, null is none",
        ),
        (
            Evolution,
            {"population": 1, "startup": 1},
            "sampler.population must be at least 2, got 1",
        ),
        (Evolution, {"population": 2, "startup": 0}, "sampler.startup must be at least 1, got 0"),
        (NSGA2, {"population": 1}, "sampler.population must be at least 2, got 1"),
        (TPE, {"startup": 0}, "sampler.startup must be at least 1, got 0"),
        (GP, {"startup": -1}, "sampler.startup must be at least 1, got -1"),
    ],
)
def test_a_key_out_of_its_range_raises_one_line_that_names_it(make, keys, message):
    with pytest.raises(ValueError, match="sampler") as caught:
        make(**keys)
    assert str(caught.value) == message


def test_the_least_values_are_allowed():
    CostAware(startup=1, screen=None)
    Evolution(population=2, startup=1)
    Evolution(population=None, startup=None)
    NSGA2(population=None)


def test_the_example_of_the_protocol_runs():
    results = doctest.testmod(base)
    assert results.attempted > 0
    assert results.failed == 0
