"""What a search refuses before it makes anything, and a run without a trial that takes other settings."""

import json
import shutil
import signal
import time

import pandas as pd
import pytest

from nas.cli.door import main
from nas.search.store.run_folder.run_directory import JOURNAL
from nas.search.store.run_folder.runs import load_run
from tests.nas.search.sessions import Session, arguments
from tests.once import make_once

TABLE = (
    "evaluator=table", "space=esr_bench_mini", "challenge=esr_bench_mini", "proxy.steps=2000", "workers=1",
    "ladder_seeds=1", "seed=1",
)  # fmt: skip
IMPOSSIBLE = "limits.runtime_ratio=0.0001"  # of no member, which only measuring tells


@pytest.fixture
def search(tmp_path, monkeypatch, capsys):
    """Run `nas search` in an empty folder; gives its exit status and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        status = main(["search", *map(str, arguments)])
        printed = capsys.readouterr()
        return status, " ".join((printed.out + printed.err).split())

    return run


@pytest.fixture(scope="session")
def base_empty(tmp_path_factory):
    """A search whose proposals were all rejected; to be read, never changed."""

    def make(folder):
        assert main(["search", *TABLE, "trials=3", f"run={folder}/a", IMPOSSIBLE]) == 0

    return make_once(tmp_path_factory, "empty_search", make) / "a"


@pytest.fixture
def empty(base_empty, tmp_path):
    """A copy of it, named a."""
    return shutil.copytree(base_empty, tmp_path / "a")


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", ["limits.params=1000", "limits.flops=1e6", "limits.num_conv=1"])
def test_a_limit_that_no_member_meets_is_told_at_once(search, tmp_path, name):
    status, printed = search(*TABLE, "trials=6", name, "run=deep/er/run")
    assert status == 2
    assert name.partition("=")[0] in printed
    assert "none of the space's 144 members meets this" in printed
    assert name != "limits.params=1000" or "the smallest has 6,328 parameters" in printed
    assert files(tmp_path) == []


def test_a_name_that_cannot_be_a_folder_leaves_no_parent(search, tmp_path):
    assert search(*TABLE, f"run=deep/er/{'x' * 300}")[0] == 2
    assert files(tmp_path) == []


def test_an_empty_search_names_the_limit_and_takes_another_under_its_name(search, tmp_path):
    status, printed = search(*TABLE, "trials=3", "run=a", IMPOSSIBLE)
    assert status == 0
    assert (
        "all 143 architectures that were proposed were rejected, 143 of them by limits.runtime_ratio"
        in printed
    )
    assert "limits.runtime_ratio=0.0001 (the closest has 0.14" in (
        tmp_path / "a/report.html"
    ).read_text("utf-8")

    status, printed = search("run=a", "limits.runtime_ratio=0.5")
    assert status == 0
    assert "run=a held no complete trial: it starts anew with these settings" in printed
    rows = pd.read_csv("a/trials.csv")
    assert (rows["state"] == "complete").sum() == 4
    assert rows["number"].tolist() == list(range(len(rows)))
    assert load_run(tmp_path / "a").limits == {"runtime_ratio": 0.5}
    [aside] = (tmp_path / "a").glob("before-*")
    assert load_run(aside).limits == {"runtime_ratio": 0.0001}
    assert len(load_run(aside).records) == 144

    status, printed = search("run=a", "limits.runtime_ratio=0.6")
    assert status == 2
    assert "limits.runtime_ratio: run=a was started with 0.5, now it is 0.6" in printed


def test_a_run_with_a_trial_keeps_its_settings(search, tmp_path):
    search(*TABLE, "trials=1", "run=a")
    before = {
        name: (tmp_path / "a" / name).read_bytes() for name in (JOURNAL, ".hydra/config.yaml")
    }
    for change in ("seed=2", "ladder_seeds=2", "limits.params=1e5"):
        assert search("run=a", change)[0] == 2
    assert before == {name: (tmp_path / "a" / name).read_bytes() for name in before}
    assert list((tmp_path / "a").glob("before-*")) == []


def test_a_run_without_a_trial_goes_on_where_its_settings_are_the_same(search, empty):
    records = len(load_run(empty).records)
    status, printed = search("run=a", "trials=4")
    assert status == 0
    assert "starts anew" not in printed
    assert list(empty.glob("before-*")) == []
    assert len(load_run(empty).records) == records


def test_a_refused_remedy_leaves_a_run_as_it_was(search, empty):
    before = {path: path.read_bytes() for path in empty.rglob("*") if path.is_file()}
    assert search("run=a", "limits.params=10")[0] == 2
    assert before == {path: path.read_bytes() for path in empty.rglob("*") if path.is_file()}


def test_a_search_that_fails_before_any_result_leaves_nothing(search, pictures, tmp_path):
    status, printed = search(
        "run=deep/a", *arguments(pictures, workers=1, **{"proxy.optimizer.lr": "1e30"})
    )
    assert status == 2
    assert "failed" in printed
    assert files(tmp_path) == []


def test_a_run_that_was_stopped_in_its_ladder_takes_other_settings(search, pictures, tmp_path):
    run = tmp_path / "run"
    long = arguments(pictures, workers=1, **{"proxy.steps": 20})
    with Session(run, long) as session:
        deadline = time.monotonic() + 120
        while not (run / JOURNAL).exists() or b"ladder/" not in (run / JOURNAL).read_bytes():
            assert session.process.poll() is None, session.text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        session.signal_group(signal.SIGINT)
        assert session.end() in (130, 0)
    ladder = len(load_run(run).ladder)
    assert ladder
    if any(record.number for record in load_run(run).records):
        pytest.skip("the search was faster than the signal")
    status, printed = search("run=run", "trials=1", "proxy.steps=2")
    assert status == 0
    assert "starts anew" in printed
    state = load_run(run)
    assert {one.fidelity for one in state.ladder} == {2}
    assert {record.quality.fidelity for record in state.records if record.quality} == {2}
    assert json.loads((run / "environment.json").read_text())["seed"] == 0
    [aside] = run.glob("before-*")
    assert {one.fidelity for one in load_run(aside).ladder} == {20}
