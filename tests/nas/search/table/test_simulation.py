"""Searches over a table: what they see is the table's, and time passes as the trainings would take it."""

import dataclasses

import pytest

from nas.analysis.results import table as rows_of
from nas.record import Quality
from nas.search.controller import Budget, Controller
from nas.search.evaluation.tasks import Task
from nas.search.evaluation.workers import Job
from nas.search.table.evaluator import Simulation, TableEvaluator
from tests.nas.search.studies import open_search
from tests.nas.search.table.tables import FIDELITIES, GATE, RUNGS, SPACE, table


def make(made=None, *, seed=0, fidelities=FIDELITIES, limits=None):
    return TableEvaluator(
        made or table(), fidelities=fidelities, challenge=GATE, limits=limits or {}, seed=seed
    )


def search(folder, *, trials=12, count=1, hours=None, confirm=0, made=None, **changes):
    own = {"fidelities": FIDELITIES, "seed": 0, "limits": {}} | changes
    evaluator = make(made, **{name: own[name] for name in ("fidelities", "seed", "limits")})
    asker = open_search(
        folder, space=SPACE, baseline=evaluator.reference, ladder_sizes=RUNGS, ladder_seeds=3, challenge=GATE,
        **{"sampler": "cost_aware"} | own,
    )  # fmt: skip
    pool = Simulation(evaluator, count=count)
    controller = Controller(
        asker, pool, Budget(trials=trials, hours=hours, confirm=confirm), has_test=False,
        show=lambda *_: None, changed=lambda: None, clock=lambda: pool.now,
    )  # fmt: skip
    return asker, pool, controller.run()


def task(spec, until=40, number=1):
    return Task(number=number, spec=spec, until=until, reference_db=None)


def test_trial_is_what_the_table_holds_and_takes_its_seconds():
    made = table()
    entry = next(entry for entry in made.entries.values() if len(entry.runs) == 1)
    evaluator = make(made)
    record = evaluator.trial(task(entry.spec, until=20), None, print)
    assert record.quality.curve == entry.runs[0].curve[:2]
    assert (record.cost, record.latency) == (entry.cost, entry.latency)
    assert evaluator.seconds == pytest.approx(0.5 + 2.0)
    on = evaluator.advance(task(entry.spec, until=40), record, print)
    assert on.quality.curve == entry.runs[0].curve
    assert on.quality.train_seconds == 4.0
    assert evaluator.seconds == pytest.approx(2.0)


def test_seeds_of_searches_get_different_trainings_of_a_member():
    made = table()
    entry = next(entry for entry in made.entries.values() if len(entry.runs) == 3)
    found = {make(made, seed=seed).trial(task(entry.spec), None, print).quality.psnr_db for seed in range(12)}
    assert found == {run.curve[-1][1] for run in entry.runs}


def test_limit_spares_the_training():
    made = table()
    entry = max(made.entries.values(), key=lambda one: one.cost.params)
    evaluator = make(made, limits={"params": 10.0})
    record = evaluator.trial(task(entry.spec), None, print)
    assert (record.state, record.latency) == ("rejected", None)
    assert evaluator.seconds == 0


def test_jobs_end_in_the_order_of_simulated_time():
    pool = Simulation(make(), count=2)
    specs = [entry.spec for entry in table().entries.values()][:3]
    quick = dataclasses.replace(task(specs[1], until=10, number=2))
    pool.submit(Job(key="slow", method="trial", args=(task(specs[0]), None)))
    pool.submit(Job(key="quick", method="trial", args=(quick, None)))
    assert pool.idle == 0
    assert [outcome.job.key for outcome in pool.outcomes(0.0)] == ["quick"]
    assert pool.now == pytest.approx(0.5 + 1.0)
    pool.submit(Job(key="late", method="trial", args=(task(specs[2]), None)))
    assert [outcome.job.key for outcome in pool.outcomes(0.0)] == ["slow"]
    assert pool.now == pytest.approx(4.5)


@pytest.mark.parametrize("fidelities", [(40,), FIDELITIES])
def test_two_workers_need_half_the_time(tmp_path, fidelities):
    seconds = {}
    for count in (1, 2):
        (tmp_path / str(count)).mkdir()
        asker, pool, reason = search(
            tmp_path / str(count), count=count, fidelities=fidelities, sampler="random"
        )
        assert reason == "12 trials done"
        assert asker.study.num_counted == 12
        seconds[count] = pool.now
    assert seconds[2] < 0.7 * seconds[1]


def test_whole_table_can_be_searched_and_the_search_ends(tmp_path):
    asker, _, reason = search(tmp_path, trials=100, fidelities=(40,), sampler="random")
    assert "exhausted" in reason
    assert {record.spec.arch_id for record in asker.study.records.values()} == set(table().entries)


def test_hours_are_simulated_ones(tmp_path):
    _, pool, reason = search(tmp_path, trials=None, hours=60 / 3600, sampler="random")
    assert reason.endswith("hours are over")
    assert 60 <= pool.now < 70


def test_row_0_and_the_ladder_are_the_tables(tmp_path):
    made = table()
    asker, _, _ = search(tmp_path, trials=3)
    assert [run.rung for run in asker.study.ladder if run.seed == 0] == list(reversed(RUNGS))
    base = asker.study.records[0]
    runs = made.entries[base.spec.arch_id].runs
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
        runs = [run.curve[-1][1] for run in entries[row.arch_id].runs]
        seeds = after.records[row.number].quality.seeds
        assert set(seeds) < set(runs)
        assert row.psnr_db == pytest.approx(sum(seeds) / 2)
