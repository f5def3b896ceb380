"""`nas trust`: members of a front looked up at the table's longest trainings, or really trained longer."""

import shutil

import pytest

from nas.cli.door import main
from nas.search.store.run_folder.runs import load_run
from tests.nas.commands.test_search_table import SPACE
from tests.nas.search.table.tables import table
from tests.once import make_once


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def call(*words):
        status = main([str(word) for word in words])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return call


@pytest.fixture(scope="session")
def base_search(tmp_path_factory):
    """A search over the made-up table whose proxy is half as long as the table's longest."""

    def make(folder):
        table().save(folder / "t.parquet")
        wide = ["challenge.gate.min_gain_db=-2.0", "objectives=[psnr_gain_db,params]"]
        base = ["evaluator=table", f"table={folder}/t.parquet", *SPACE, "trials=20", *wide]
        run = ["sampler=random", "proxy.steps=20", f"run={folder}/a"]
        assert main(["search", *base, *run]) == 0

    return make_once(tmp_path_factory, "trust", make)


@pytest.fixture
def searched(base_search, tmp_path):
    return shutil.copytree(base_search / "a", tmp_path / "a")


def test_members_are_ranked_by_the_longest_trainings_of_the_table(call, searched):
    status, printed = call("trust", "run=a", "members=6")
    assert status == 0
    assert "Kendall's tau between 20 and 40 steps: 1.00 (" in printed
    state = load_run(searched)
    entries = table().entries
    assert len(state.retrained) == 6
    for one in state.retrained:
        assert one.long_psnr_db == entries[one.arch_id].trainings[0].curve[-1][1]
    psnr = [one.psnr_db for one in state.retrained]
    members = [
        row.quality.psnr_db
        for row in state.records
        if row.number in {o.number for o in state.retrained}
    ]
    assert sorted(psnr) == sorted(members)
    assert "trained 40 steps instead of 20: tau 1.00" in (searched / "report.html").read_text()


def test_what_was_trained_is_not_trained_again(call, searched):
    call("trust", "run=a", "members=4")
    path = searched / "trust.jsonl"
    kept = path.read_bytes()
    call("trust", "run=a", "members=4")
    assert path.read_bytes() == kept


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run=a", "members=1"], "members must be at least 2, got 1"),
        (["run=a", "factor=1"], "factor must be at least 2, got 1"),
        (["run=a", "rate=0"], "rate must be above 0, got 0"),
        (["run=nowhere"], "run=nowhere: there is no run in this directory"),
    ],
)
def test_what_cannot_be_done_is_refused(call, searched, arguments, words):
    status, printed = call("trust", *arguments)
    assert status == 2
    assert words in printed


def test_run_that_used_the_longest_trainings_is_refused(call, tmp_path):
    table().save(tmp_path / "t.parquet")
    wide = ["challenge.gate.min_gain_db=-2.0", "proxy.steps=40", "run=a", "trials=8"]
    call("search", "evaluator=table", "table=t.parquet", *SPACE, *wide)
    status, printed = call("trust", "run=a")
    assert status == 2
    assert "run=a: its table holds nothing longer than its 40 steps" in printed


def test_members_are_really_trained_longer(call, tiny_copy):
    status, printed = call("trust", f"run={tiny_copy}", "members=2", "factor=2", "workers=1")
    assert status == 0
    found = load_run(tiny_copy).retrained
    assert [one.steps for one in found] == [6, 6]
    assert "networks are too few for a rank agreement" in printed
