"""Searches by other libraries: what they need is said, and how they are counted."""

import pytest

from benchmarks.search import rivals
from benchmarks.search.landscapes import Landscape
from benchmarks.search.search import make_candidates
from nas.search.table.evaluator import TableEvaluator
from tests.nas.search.table.tables import FIDELITIES, GATE, SPACE, table


def test_what_is_not_installed_is_named_with_its_cure(monkeypatch):
    monkeypatch.setitem(rivals.LIBRARIES, "moasha", ("no_such_library", "pip install it"))
    assert rivals.lacking(["tpe", "moasha"]) == "moasha needs no_such_library: pip install it"
    assert rivals.lacking(["tpe"]) == ""


@pytest.mark.parametrize("is_ranked", [False, True])
def test_moasha_stops_trainings_and_pays_steps_once(is_ranked, monkeypatch):
    pytest.importorskip("syne_tune")
    monkeypatch.setattr(rivals, "MOST_SUGGESTIONS", 2)
    found = table()
    evaluator = TableEvaluator(found, fidelities=FIDELITIES, challenge=GATE, limits={}, seed=0)

    def searched(seed):
        readings = []

        def look(records):
            readings.append({number: one.quality.fidelity for number, one in records.items()})

        rivals.moasha(SPACE, evaluator, look, seed=seed, is_ranked=is_ranked)
        return readings

    readings = searched(0)
    end = readings[-1]
    assert set(end.values()) == {
        FIDELITIES[0],
        FIDELITIES[-1],
    }  # its rungs are 1 and 3 of 1, 2 and 4
    assert len(readings) == sum(FIDELITIES.index(steps) + 1 for steps in end.values())
    assert len(end) <= len(found.entries)
    assert searched(0) == readings
    assert searched(1) != readings


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what it imports
def test_botorch_finds_the_best_of_a_small_space_and_repeats_nothing():
    pytest.importorskip("botorch")

    def value(at):
        return at["x"] + at["y"], 1.0 + 0.1 * at["x"]

    options = {"x": tuple(range(6)), "y": tuple(range(6))}
    landscape = Landscape(options=options, value=value, corner=(0.0, 2.0))
    candidates = make_candidates(landscape, 0, is_known=True)
    trained = {}
    for seed in range(10):
        point = rivals.botorch_known(
            candidates,
            list(trained),
            list(trained.values()),
            corner=(0.0, 2.0),
            startup=4,
            seed=seed,
        )
        assert point not in trained
        trained[point] = float(sum(point))
    assert (
        sum(point[1] == 5 for point in trained) >= 4
    )  # y costs nothing: the front is where it is largest
