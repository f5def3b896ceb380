import pytest

from nas.search.samplers.base import default_population
from nas.search.samplers.evolution import TOURNAMENT, Evolution
from tests.nas.search.model.landscape import make_candidates, make_observations, observe_point


def number_rows(points):
    candidates = make_candidates()
    return [observe_point(candidates, point, number=n) for n, point in enumerate(points)]


def suggest(sampler, rows, seed, **changes):
    """Return the suggested point; None: every candidate is known."""
    observations = make_observations(rows, **changes)
    suggestion = sampler.ask(observations, [], seed=seed)
    return None if suggestion is None else observations.candidates.point(suggestion.params)


def count_differences(point, other):
    return sum(a != b for a, b in zip(point, other, strict=True))


def test_a_child_differs_in_one_decision_from_the_best_of_a_tournament():
    sampler = Evolution(population=TOURNAMENT, startup=3)
    best, *others = (2, 7, 1, 0), (4, 7, 0, 0), (4, 6, 0, 0), (3, 7, 0, 0), (4, 6, 0, 1)
    for seed in range(8):
        child = suggest(sampler, number_rows([best, *others]), seed)
        assert count_differences(child, best) == 1
        assert child not in (best, *others)


def test_the_oldest_die_however_good_they_are():
    sampler = Evolution(population=2, startup=3)
    points = [(2, 7, 1, 0), (4, 7, 2, 0), (4, 5, 2, 0)]
    for seed in range(8):
        child = suggest(sampler, number_rows(points), seed)
        assert 1 in {count_differences(child, point) for point in points[1:]}


def test_age_is_the_number_of_a_row_whatever_the_order_they_are_given_in():
    sampler = Evolution(population=2, startup=3)
    rows = number_rows([(2, 7, 1, 0), (4, 7, 2, 0), (4, 5, 2, 0)])
    for seed in range(8):
        assert suggest(sampler, rows, seed) == suggest(sampler, rows[::-1], seed)


@pytest.mark.parametrize("limits", [{}, {"params": 200.0}])
def test_it_goes_on_until_every_network_is_known(limits):
    sampler, candidates = Evolution(population=8, startup=8), make_candidates()
    rows = []
    changes = {"candidates": candidates, "limits": limits}
    while (point := suggest(sampler, rows, len(rows), **changes)) is not None:
        rows.append(observe_point(candidates, point, number=len(rows)))
    assert len({row.point for row in rows}) == len(rows) == len(candidates.list_points([]))
    allowed = [candidates.candidate(row.point).costs["params"] <= 200 for row in rows]
    assert not limits or allowed == sorted(allowed, reverse=True)  # what breaks a limit comes last


def test_null_is_a_population_by_the_trials_asked_for_and_a_start_as_long():
    assert [default_population(trials) for trials in (3, 32, 100, 1000)] == [8, 8, 25, 50]
    candidates = make_candidates()
    rows = number_rows(candidates.spread(12))
    asked = {"candidates": candidates, "planned_trials": 40}  # a population of 10
    for known in (9, 10):
        null, ten = Evolution(population=None, startup=None), Evolution(population=10, startup=10)
        later = Evolution(population=10, startup=known + 1)  # still spreads over the space
        at = {
            name: suggest(one, rows[:known], 0, **asked)
            for name, one in {"null": null, "ten": ten, "later": later}.items()
        }
        assert at["null"] == at["ten"]
        assert (at["null"] == at["later"]) == (known < 10)
