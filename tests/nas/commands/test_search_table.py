"""`nas search evaluator=table`, whole: what it finds, starts with, refuses; and a table of real trainings."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from nas.cli.door import main
from nas.search.store.run_folder.runs import load_run
from nas.search.table.table import Table
from search_spaces import published
from tests.nas.search.sessions import make_pictures
from tests.nas.search.table.tables import table

SPACE = [
    "space.num_blocks=[1,2]", "space.channels=[8,12,16]", "space.attention=[parameter_free,none]",
    "space.activation=[silu,relu]", "space.tail_channels=[1.0]", "space.skip=[none]", "space.taps=[all]",
]  # fmt: skip


@pytest.fixture
def search(tmp_path, monkeypatch, capsys):
    """Run `nas search` over the made-up table; gives its exit status and what it printed."""
    monkeypatch.chdir(tmp_path)
    table().save(tmp_path / "t.parquet")

    def run(*arguments, base=("evaluator=table", "table=t.parquet", "proxy.steps=40", *SPACE)):
        status = main(["search", *base, *map(str, arguments)])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


def rows(run):
    return pd.read_csv(f"{run}/trials.csv")


def test_search_finds_a_front_and_says_that_nothing_was_trained(search):
    status, printed = search(
        "run=a", "trials=10", "fidelity=rungs", "fidelity.rungs=[0.25,0.5]", "seed=3"
    )
    assert status == 0
    assert "nothing is trained, seconds are simulated" in printed
    found = rows("a")
    assert found["number"].tolist() == list(range(len(found)))
    assert set(found["fidelity"].dropna()) <= {10, 20, 40}
    assert found.loc[0, "score"] == pytest.approx(7.3891, abs=1e-3)
    entries = table().entries
    for _, row in found[found["state"] == "complete"].iterrows():
        curves = [dict(run.curve) for run in entries[row["arch_id"]].trainings]
        assert row["number"] == 0 or row["psnr_db"] in [curve[row["fidelity"]] for curve in curves]


def test_search_goes_on_where_it_ended_as_if_it_had_not(search):
    search("run=whole", "trials=9", "workers=1")
    search("run=parts", "trials=4", "workers=1")
    assert search("run=parts", "trials=9", base=())[0] == 0
    columns = ["number", "arch_id", "psnr_db", "state"]
    pd.testing.assert_frame_equal(rows("whole")[columns], rows("parts")[columns])


def test_named_architectures_are_tried_first(search, tmp_path):
    search("run=a", "trials=6", "workers=1", "sampler=random")
    wanted = rows("a").loc[3, "arch_id"]
    (tmp_path / "mine.csv").write_text(rows("a").loc[[4, 3], ["arch"]].to_csv(index=False))
    assert search("run=b", "trials=5", "workers=1", "start=[a:3,mine.csv]")[0] == 0
    found = rows("b")
    assert found.loc[1:2, "arch_id"].tolist() == [wanted, rows("a").loc[4, "arch_id"]]
    assert found["arch_id"].is_unique
    assert len(found) == 6
    search("run=c", "trials=1", "workers=1", "start=[a:3,mine.csv]")
    search("run=c", "trials=5", base=())  # the second one was not tried yet
    assert rows("c")["arch_id"].tolist() == found["arch_id"].tolist()


def test_warm_start_tries_the_front_first_and_learns_from_the_rest(search):
    search("run=a", "trials=12", "workers=1")
    status, printed = search("run=b", "trials=6", "workers=1", "warm_start=[a]", "seed=1")
    assert status == 0
    assert "other conditions" not in printed
    front = rows("a").query("on_front == 'yes' and number > 0")
    assert rows("b").loc[1 : len(front), "arch_id"].tolist() == front["arch_id"].tolist()
    status, printed = search("run=c", "trials=6", "warm_start=[a]", "proxy.steps=20")
    assert "warm_start: the PSNR of a were found under other conditions" in printed


def test_architecture_outside_the_table_cannot_be_started_with(search):
    status, printed = search("run=a", "trials=3", "start=[published/spanf]")
    assert status == 2
    assert f"start: {published('spanf').arch_id} is not in table=t.parquet" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["space.channels=[8,12,20]"], "space: 8 of its 24 members, such as .* are not in table=t.parquet;"),
        (["proxy.steps=30"], "proxy.steps=30: table=t.parquet was read at 10, 20, 40 steps; give"),
        (["fidelity=rungs"], r"fidelity.rungs: .* was not read at 5 steps; give fidelity.rungs=\[0.25,0.5\]"),
        (["ladder_seeds=4"], "ladder_seeds=4: table=t.parquet holds 3 trainings of a rung"),
        (["scale=2"], "scale=2: table=t.parquet is of scale 4"),
        (["table=none.parquet"], "table=none.parquet: there is no such file; those that ship"),
        (["start=[nowhere.csv]"], "start=nowhere.csv: there is no such file"),
        (["warm_start=[nowhere]"], "warm_start: run=nowhere: there is no run in this directory"),
    ],
)  # fmt: skip
def test_what_the_table_does_not_hold_is_refused_in_one_line(search, tmp_path, arguments, words):
    status, printed = search("run=a", *arguments)
    assert status == 2
    (line,) = printed.strip().splitlines()[1:]
    assert pd.Series([line]).str.contains(words).all(), line
    assert not (tmp_path / "a").exists()


def test_run_is_not_resumed_with_another_table(search, tmp_path):
    search("run=a", "trials=3")
    table(num_repeated=5).save(tmp_path / "t.parquet")
    status, printed = search("run=a", "trials=5", base=())
    assert status == 2
    assert "table: the table of run=a changed since it was started" in printed


def test_run_is_not_resumed_with_another_backend(search):
    search("run=a", "trials=3")
    status, printed = search("run=a", "trials=5", "evaluator=proxy", base=())
    assert status == 2
    assert "evaluator: run=a was started with TableBackend, now it is TrainingBackend" in printed


def test_real_trainings_fill_a_table_that_a_search_reads(tmp_path, monkeypatch, capsys):
    """Two steps each; what is done already is not done again."""
    monkeypatch.chdir(tmp_path)
    make_pictures(tmp_path / "pictures")
    arguments = [
        "tabulate", "out=t.parquet", "proxy.steps=2", "fidelity.rungs=[0.5]", "seeds=2", "repeated=3",
        "workers=1",
        "data=folder", "data.train=pictures/train", "data.val=pictures/val", "space.num_blocks=[1]",
        "space.channels=[8,12]", "space.attention=[parameter_free,none]", "space.activation=[silu]",
        "ladder=[8x1,12x1]", "latency.sizes=[[16,16]]", "latency.max_seconds=0.3", "latency.min_rounds=3",
        "latency.max_rounds=3", "latency.warmup_seconds=0",
    ]  # fmt: skip
    assert main(arguments) == 0
    found = Table.load(tmp_path / "t.parquet")
    assert sorted(len(entry.trainings) for entry in found.entries.values()) == [1, 2, 2, 2]
    runs = [run for entry in found.entries.values() for run in entry.trainings]
    assert all([steps for steps, _ in run.curve] == [1, 2] for run in runs)
    assert main(arguments) == 2  # it is complete
    assert "out: t.parquet exists" in capsys.readouterr().err
    shutil.move("t.parquet", "whole.parquet")
    search = [
        "search",
        "run=r",
        "evaluator=table",
        "table=whole.parquet",
        "trials=9",
        "ladder_seeds=2",
    ]
    assert (
        main([*search, "proxy.steps=2", *[one for one in arguments if one.startswith("space")]])
        == 2
    )
    assert "space" in capsys.readouterr().err
    taken = ["space=esr_bench_mini", *[one for one in arguments if one.startswith("space")]]
    assert main([*search, "proxy.steps=2", *taken]) == 0
    assert len(load_run(tmp_path / "r").records) == 4


def test_search_reads_longer_trainings_from_the_table_or_says_that_there_are_none(search):
    _, printed = search("run=brief", "proxy.steps=10", "trials=2")
    assert "ladder at 40 steps, in the table: " in printed
    lasting = load_run(Path("brief")).verdict.lasting
    assert [steps for steps, _ in lasting.readings] == [10, 20, 40]
    _, printed = search("run=long", "trials=2")
    told = " ".join(printed.split())
    assert "was not checked (table=t.parquet holds no training of more than 40 steps)" in told
    assert load_run(Path("long")).verdict.lasting is None
