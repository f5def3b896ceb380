"""What a search over a table has spent and found."""

import pytest

from benchmarks.search import table as benchmark
from nas.search.evaluation.requests import TrialRequest
from nas.search.table.evaluator import TableEvaluator
from tests.nas.search.table.tables import FIDELITIES, GATE, table


@pytest.fixture
def searched():
    """A watch, and a record of the n-th member trained for so many steps."""
    found = table(noise=0.0)
    evaluator = TableEvaluator(found, fidelities=FIDELITIES, challenge=GATE, limits={}, seed=0)
    specs = [
        entry.spec for entry in found.entries.values() if entry.spec != evaluator.table.baseline
    ]

    def record(number, steps):
        spec = evaluator.table.baseline if number == 0 else specs[number - 1]
        request = TrialRequest(number=number, spec=spec, until=steps, reference_db=None)
        return evaluator.trial(request, None, print)

    return benchmark.Watch(found, GATE, base=evaluator.table.baseline.arch_id), record, len(specs)


def test_steps_of_a_training_that_goes_on_are_paid_once_and_the_baseline_costs_nothing(searched):
    watch, record, _ = searched
    low, top = FIDELITIES[0], FIDELITIES[-1]
    records = {0: record(0, top), 1: record(1, low)}
    watch.look(records)
    assert (watch.steps, watch.trainings, watch.share) == (low, 1, 0.0)
    watch.look(records | {1: record(1, top), 2: record(2, low)})
    watch.look(records | {1: record(1, top), 2: record(2, low)})
    assert (watch.steps, watch.trainings, len(watch.found)) == (top + low, 2, 1)


def test_a_search_ends_once_all_that_is_asked_for_was_found(searched):
    watch, record, count = searched
    records = {number: record(number, FIDELITIES[-1]) for number in range(1, count + 1)}

    def train_all():
        for number in records:
            watch.look({one: records[one] for one in range(1, number + 1)})

    with pytest.raises(benchmark.Enough):
        train_all()
    assert 0.98 <= watch.share <= 1
    assert watch.reached.keys() == {"0.9", "0.95", "0.98", "score"}
    assert watch.reached["0.9"] <= watch.reached["0.98"] == (watch.steps, watch.trainings)
