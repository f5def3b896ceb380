"""Optuna's samplers over a mirror suggest what Optuna's own would in a study of their own."""

import warnings

import optuna
import pytest
from optuna.samplers import GPSampler, NSGAIISampler, TPESampler
from optuna.trial import TrialState

from nas.search.samplers.optuna_samplers import GENERATION, GP, NSGA2, PARENTS, TPE
from nas.search.store.distributions import make_distributions
from tests.nas.search.model.landscape import DECISIONS, LIMIT, MemorySearch, quality, runtime

SPACE = make_distributions(DECISIONS)


class _PlainNSGA2(NSGAIISampler):
    """Optuna's rules, which look at all trials; parents in the order of their numbers."""

    def get_parent_population(self, study, generation):
        parents = super().get_parent_population(study, generation)
        return sorted(parents, key=lambda trial: trial.number)


def make_plain(kind, seed):
    """Return Optuna's own sampler."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if kind == "nsga2":
            return _PlainNSGA2(population_size=6, seed=seed)
        if kind == "tpe":
            return TPESampler(multivariate=True, n_startup_trials=5, seed=seed)
        return GPSampler(n_startup_trials=5, seed=seed)


OURS = {"nsga2": NSGA2(population=6), "tpe": TPE(startup=5), "gp": GP(startup=5)}


def search_plainly(kind, count, num_open):
    """Return params and generations of a study that Optuna's sampler is asked in itself.

    The order in which trials end and fail is that of `MemorySearch.run`.
    """
    study = optuna.create_study(directions=["maximize", "minimize"])
    rows, open_trials = [], []
    for place in range(count):
        study.sampler = make_plain(kind, place)
        trial = study.ask(SPACE)
        attributes = study.get_trials(deepcopy=False)[place].system_attrs
        rows.append((trial.params, attributes.get(_PlainNSGA2._get_generation_key())))
        open_trials.append(trial)
        if len(open_trials) > num_open:
            ending = open_trials.pop(place % len(open_trials))
            if place % 7 == 3:
                study.tell(ending, state=TrialState.FAIL)
            else:
                ending.set_constraint("runtime_ratio", runtime(ending.params) / LIMIT - 1)
                study.tell(ending, [quality(ending.params), runtime(ending.params)])
    return rows


@pytest.mark.parametrize("num_open", [0, 3])
@pytest.mark.parametrize(("kind", "count"), [("nsga2", 70), ("tpe", 30), ("gp", 12)])
def test_it_suggests_what_optuna_does_with_so_many_open_trials(kind, count, num_open):
    suggestions = MemorySearch().run(lambda: OURS[kind], count, num_open=num_open)
    ours = [(dict(one.params), one.notes.get(GENERATION)) for one in suggestions]
    assert ours == search_plainly(kind, count, num_open)
    if kind == "nsga2":
        assert ours[-1][1] >= 5  # generations


def test_parents_are_noted_once_a_generation_and_are_what_had_ended_then():
    search = MemorySearch()
    suggestions = search.run(lambda: OURS["nsga2"], 40, num_open=3)
    generations = [one.notes[GENERATION] for one in suggestions]
    assert generations == sorted(generations)
    firsts = [generations.index(generation) for generation in range(1, generations[-1] + 1)]
    assert len(firsts) >= 3
    for place, suggestion in enumerate(suggestions):
        assert (PARENTS in suggestion.notes) == (place in firsts)
    for first in firsts:
        parents = suggestions[first].notes[PARENTS]
        assert len(parents) == 6
        assert all(parent < first and search.told[parent].values for parent in parents)


def test_what_was_drawn_by_another_is_of_no_generation():
    """A search that knows nothing new draws at random: such trials bring no notes with them."""
    search = MemorySearch()
    search.run(lambda: OURS["nsga2"], 6)
    drawn = MemorySearch()
    drawn.told = [*search.told]
    drawn.rows = [*search.rows]
    drawn.run(lambda: TPE(startup=99), 4)
    next_notes = drawn.ask(OURS["nsga2"], 0).notes
    complete = sum(trial.values is not None for trial in search.told)
    assert complete < 6  # one failed
    assert next_notes[GENERATION] == 0
