"""Searches over a table: what they see is the table's, and time passes as the trainings would take it."""

import dataclasses

import pytest

from nas.analysis.results import table as rows_of
from nas.record import Quality
from nas.search.config import Budget
from nas.search.controller import Controller
from nas.search.engines.base import Placement, Task
from nas.search.engines.simulated import SimulatedEngine
from nas.search.engines.tasks import started
from nas.search.evaluation.requests import TrialRequest
from nas.search.table.evaluator import TableEvaluator
from tests.nas.search.studies import open_search
from tests.nas.search.table.tables import FIDELITIES, GATE, SIZES, SPACE, table


def make(made=None, *, seed=0, fidelities=FIDELITIES, limits=None):
    return TableEvaluator(
        made or table(), fidelities=fidelities, challenge=GATE, limits=limits or {}, seed=seed
    )


def placed(count):
    return Placement(num_workers=count, num_per_host=count)


def search(folder, *, trials=12, count=1, hours=None, confirm=0, made=None, **changes):
    own = {"fidelities": FIDELITIES, "seed": 0, "limits": {}} | changes
    evaluator = make(made, **{name: own[name] for name in ("fidelities", "seed", "limits")})
    asker = open_search(
        folder, space=SPACE, baseline=evaluator.table.baseline, ladder_sizes=SIZES, ladder_seeds=3,
        challenge=GATE,
        **{"sampler": "cost_aware"} | own,
    )  # fmt: skip
    engine = SimulatedEngine()
    controller = Controller(
        asker, engine, Budget(trials=trials, hours=hours, confirm=confirm), has_test=False,
        show=lambda *_: None, changed=lambda: None, clock=lambda: engine.now,
    )  # fmt: skip
    with started(engine, lambda: evaluator, placed(count)):
        return asker, engine, controller.run()


def request(spec, until=40, number=1):
    return TrialRequest(number=number, spec=spec, until=until, reference_db=None)


def test_trial_is_what_the_table_holds_and_takes_its_seconds():
    made = table()
    entry = next(entry for entry in made.entries.values() if len(entry.trainings) == 1)
    evaluator = make(made)
    record = evaluator.trial(request(entry.spec, until=20), None, print)
    assert record.quality.curve == entry.trainings[0].curve[:2]
    assert (record.cost, record.latency) == (entry.cost, entry.latency)
    assert evaluator.seconds == pytest.approx(0.5 + 2.0)
    on = evaluator.advance(request(entry.spec, until=40), record, print)
    assert on.quality.curve == entry.trainings[0].curve
    assert on.quality.train_seconds == 4.0
    assert evaluator.seconds == pytest.approx(2.0)


def test_seeds_of_searches_get_different_trainings_of_a_member():
    made = table()
    entry = next(entry for entry in made.entries.values() if len(entry.trainings) == 3)
    found = {
        make(made, seed=seed).trial(request(entry.spec), None, print).quality.psnr_db
        for seed in range(12)
    }
    assert found == {run.curve[-1][1] for run in entry.trainings}


def test_limit_spares_the_training():
    made = table()
    entry = max(made.entries.values(), key=lambda one: one.cost.params)
    evaluator = make(made, limits={"params": 10.0})
    record = evaluator.trial(request(entry.spec), None, print)
    assert (record.state, record.latency) == ("rejected", None)
    assert evaluator.seconds == 0


def test_tasks_end_in_the_order_of_simulated_time():
    engine = SimulatedEngine()
    engine.start(make, placed(2))
    specs = [entry.spec for entry in table().entries.values()][:3]
    quick = dataclasses.replace(request(specs[1], until=10, number=2))
    engine.submit(Task(key="slow", method="trial", args=(request(specs[0]), None)))
    engine.submit(Task(key="quick", method="trial", args=(quick, None)))
    assert engine.idle == 0
    assert [result.task.key for result in engine.results(0.0)] == ["quick"]
    assert engine.now == pytest.approx(0.5 + 1.0)
    engine.submit(Task(key="late", method="trial", args=(request(specs[2]), None)))
    assert [result.task.key for result in engine.results(0.0)] == ["slow"]
    assert engine.now == pytest.approx(4.5)


@pytest.mark.parametrize("fidelities", [(40,), FIDELITIES])
def test_two_workers_need_half_the_time(tmp_path, fidelities):
    seconds = {}
    for count in (1, 2):
        (tmp_path / str(count)).mkdir()
        asker, engine, reason = search(
            tmp_path / str(count), count=count, fidelities=fidelities, sampler="random"
        )
        assert reason == "12 trials done"
        assert asker.study.num_counted == 12
        seconds[count] = engine.now
    assert seconds[2] < 0.7 * seconds[1]


def test_whole_table_can_be_searched_and_the_search_ends(tmp_path):
    asker, _, reason = search(tmp_path, trials=100, fidelities=(40,), sampler="random")
    assert "exhausted" in reason
    assert {record.spec.arch_id for record in asker.study.records.values()} == set(table().entries)


def test_hours_are_simulated_ones(tmp_path):
    _, engine, reason = search(tmp_path, trials=None, hours=60 / 3600, sampler="random")
    assert reason.endswith("hours are over")
    assert 60 <= engine.now < 70


def test_row_0_and_the_ladder_are_the_tables(tmp_path):
    made = table()
    asker, _, _ = search(tmp_path, trials=3)
    assert [run.rung for run in asker.study.ladder if run.seed == 0] == list(reversed(SIZES))
    base = asker.study.records[0]
    runs = made.entries[base.spec.arch_id].trainings
    assert isinstance(base.quality, Quality)
    assert base.quality.psnr_db == pytest.approx(sum(run.curve[-1][1] for run in runs) / 3)


def test_doubtful_rows_are_trained_again_and_are_surer_then(tmp_path):
    """Members whose table holds other trainings get them."""
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    made = table(noise=0.05, num_repeated=20)
    same = {"trials": 20, "fidelities": (40,), "sampler": "random", "made": made}
    before, _, _ = search(tmp_path / "a", **same)
    after, _, _ = search(tmp_path / "b", confirm=20, **same)
    ours, theirs = rows_of(before.study.state), rows_of(after.study.show("", {}))
    assert ours["arch_id"].tolist() == theirs["arch_id"].tolist()
    doubtful = (ours["front_probability"] - 0.5).abs() < 0.45
    again = theirs["psnr_seeds"] == 2
    assert again.any()
    assert not (again & ~doubtful).any()
    entries = made.entries
    for row in theirs[again].itertuples():
        runs = [run.curve[-1][1] for run in entries[row.arch_id].trainings]
        seeds = after.study.records[row.number].quality.seeds
        assert set(seeds) < set(runs)
        assert row.psnr_db == pytest.approx(sum(seeds) / 2)
