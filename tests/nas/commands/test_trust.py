"""`nas trust`: members of a front looked up at the table's longest trainings, or really trained longer."""

import pytest

from nas.cli.door import main
from nas.search.store.runs import load_run
from tests.nas.commands.test_search_table import SPACE
from tests.nas.search.sessions import arguments, make_pictures
from tests.nas.search.table.tables import table


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def call(*words):
        status = main([str(word) for word in words])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return call


@pytest.fixture
def searched(call, tmp_path):
    """A search over the made-up table whose proxy is half as long as the table's longest."""
    table().save(tmp_path / "t.parquet")
    base = [
        "search",
        "evaluator=table",
        "table=t.parquet",
        *SPACE,
        "trials=20",
        "run=a",
        "sampler=random",
    ]
    wide = ["challenge.gate.min_gain_db=-2.0", "objectives=[psnr_gain_db,params]"]
    assert call(*base, *wide, "proxy.steps=20")[0] == 0
    return tmp_path / "a"


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


def test_members_are_really_trained_longer(call, tmp_path):
    make_pictures(tmp_path / "pictures")
    assert call("search", "run=r", *arguments(tmp_path / "pictures", trials=4))[0] == 0
    status, printed = call("trust", "run=r", "members=2", "factor=2", "workers=1")
    assert status == 0
    found = load_run(tmp_path / "r").retrained
    assert [one.steps for one in found] == [4] * len(found)
    assert "networks are too few for a rank agreement" in printed
