"""The table that ships: it can rank, its gate divides it, and a search over it is a run like any other."""

import statistics

import pandas as pd
import pytest

from nas.analysis.ladder import LadderRun, judge, rung_spec
from nas.cli.door import main
from nas.measure.cost import measure_cost
from nas.search.table.table import Table, find_table

GATE_DB = 0.08


@pytest.fixture(scope="module")
def mini():
    return Table.load(find_table("esr_bench_mini"))


def end(run):
    return run.curve[-1][1]


def test_table_is_the_whole_grid_at_five_fidelities_with_seeds(mini):
    assert len(mini.entries) == 144
    assert sum(len(entry.trainings) == 3 for entry in mini.entries.values()) >= 24
    assert len(mini.facts.fidelities) == 5
    runs = [run for entry in mini.entries.values() for run in entry.trainings]
    assert all([steps for steps, _ in run.curve] == list(mini.facts.fidelities) for run in runs)
    assert "/" not in str(mini.facts.settings["data.train"])


def test_members_spread_over_ten_seed_deviations_and_the_gate_divides_them(mini):
    groups = [[end(run) for run in entry.trainings] for entry in mini.entries.values()]
    deviation = (
        statistics.fmean(statistics.variance(group) for group in groups if len(group) > 1) ** 0.5
    )
    means = [statistics.fmean(group) for group in groups]
    assert max(means) - min(means) > 10 * deviation
    reference = mini.entries[rung_spec(mini.facts.ladder_sizes[-1], 4).arch_id]
    level = statistics.fmean(map(end, reference.trainings))
    assert 0.1 <= statistics.fmean(mean - level >= -GATE_DB for mean in means) <= 0.4
    assert (reference.latency.ratio, reference.latency.ci) == (1, 0)


def test_ladder_of_the_table_passes(mini):
    runs = [
        LadderRun(
            rung=rung, seed=seed, psnr_db=end(run), base_db=24.58, fidelity=2000, train_seconds=1
        )
        for rung in mini.facts.ladder_sizes
        for seed, run in enumerate(mini.entries[rung_spec(rung, 4).arch_id].trainings)
    ]
    assert judge(runs, GATE_DB, mini.facts.ladder_sizes).passes


def test_search_over_it_is_a_run_like_any_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = (
        "run=r evaluator=table space=esr_bench_mini challenge=esr_bench_mini proxy.steps=2000"
    )
    assert main(["search", *arguments.split(), "fidelity=rungs", "trials=14", "workers=1"]) == 0
    rows = pd.read_csv(tmp_path / "r" / "trials.csv")
    assert rows.loc[0, ["runtime_ratio", "feasible"]].tolist() == [1, "yes"]
    assert rows.loc[0, "score"] == pytest.approx(7.389056, abs=1e-5)
    members = pd.read_csv(tmp_path / "r" / "front.csv")
    assert len(members) >= 5
    assert set(members["feasible"]) == {"yes"}
    assert set(members["fidelity"]) == {2000}
    assert members["score"].is_monotonic_increasing
    assert members["score"].iloc[0] < 3.5  # the table's best is 2.06


def test_costs_are_those_that_are_counted_today():
    """A table that was made before a count changed would disagree with `nas profile`."""
    entries = list(Table.load(find_table("esr_bench_mini")).entries.values())
    for entry in entries[::18]:
        assert entry.cost == measure_cost(entry.spec)
