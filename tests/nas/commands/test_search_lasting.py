"""Data that do not last: a search on two tiny pictures says so, wherever its results are read."""

import os
import shutil
import subprocess
import sys
import time

import pandas as pd
import pytest
from PIL import Image

from nas.cli.door import main
from nas.commands import trust
from nas.data.builtin.photographs import photograph
from nas.data.pixels.images import read_image
from nas.search.store.run_folder.runs import load_run
from tests.nas.search.sessions import Session
from tests.once import make_once

USED_UP = "the data are used up; no fidelity longer than that decides anything"
SETTINGS = {
    "trials": 1, "workers": 1, "ladder_seeds": 1, "device": "cpu", "proxy.steps": 120, "proxy.batch_size": 4,
    "proxy.patch": 8, "latency.sizes": "[[16,16]]", "latency.max_seconds": 0.3, "latency.min_rounds": 3,
    "latency.max_rounds": 3, "latency.warmup_seconds": 0, "data": "folder",
}  # fmt: skip
CROPS = {  # photograph, top, left and side
    "train": [("coffee", 100, 100, 64), ("coffee", 200, 300, 64)],
    "val": [("astronaut", 0, 100, 128), ("chelsea", 60, 100, 128)],
}


def write_crops(folder):
    """Two pictures of 64x64 to train on, and two of something else."""
    for role, crops in CROPS.items():
        (folder / role).mkdir(parents=True)
        for name, top, left, side in crops:
            whole = read_image(photograph(name, source="").hr)
            pixels = whole[top : top + side, left : left + side]
            Image.fromarray(pixels).save(folder / role / f"{name}{top}.png")


def search(folder, run, **changes):
    """Run a session to its end with the folder as its cache; gives what it printed."""
    roles = {f"data.{role}": folder / role for role in CROPS}
    overrides = [f"{key}={value}" for key, value in (SETTINGS | roles | changes).items()]
    done = subprocess.run(
        [sys.executable, "-m", "nas", "search", f"run={run}", *overrides],
        capture_output=True, text=True, check=False, cwd=folder,
        env=os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return " ".join((done.stdout + done.stderr).split())  # its lines are as wide as a terminal


@pytest.fixture(scope="session")
def used_up(tmp_path_factory):
    """A folder with crops, a run on them and what it printed; to be read, never changed."""

    def make(folder):
        write_crops(folder)
        (folder / "printed.txt").write_text(search(folder, "run"))

    return make_once(tmp_path_factory, "used_up", make)


@pytest.fixture
def run(used_up, tmp_path, monkeypatch):
    """A copy of the run."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(used_up / "run", tmp_path / "run")


def test_search_on_two_tiny_pictures_says_that_they_are_used_up(used_up, run):
    printed = (used_up / "printed.txt").read_text()
    assert "the ladder is trained once more (28x6; 480 steps) to see how far the data last" in (
        printed
    )
    assert printed.count(USED_UP) >= 2  # as it is known, and at the end
    assert "What to run instead: data that last longer: more photographs" in printed
    lasting = load_run(run).verdict.lasting
    assert lasting.is_used_up
    assert lasting.gains_until < 120
    assert f"the data are used up after {lasting.gains_until} steps" in printed  # in the headline


def test_no_best_score_is_offered_where_the_data_are_used_up(run, capsys):
    assert main(["export", f"run={run}", "pick=best_score"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert "the data are used up before its trainings end" in line
    assert "search on data that last longer" in line
    assert main(["profile", f"arch={run}:best_score", "latency=null"]) == 2
    rows = pd.read_csv(run / "trials.csv")
    assert set(rows["feasible"]) == {"unknown"}


def test_report_of_the_journal_says_it_again(run, capsys):
    (run / "report.html").unlink()
    assert main(["report", f"run={run}"]) == 0
    assert USED_UP in " ".join(capsys.readouterr().out.split())
    page = (run / "report.html").read_text()
    assert USED_UP in page
    assert "28x6 along a training of 480 steps" in page
    assert "Trainings of 120 steps show how networks use them up" in page


def test_longer_trainings_than_the_data_last_are_told_beforehand(run, monkeypatch, capsys):
    """nas trust says it before it trains, and beside what it found."""
    monkeypatch.setattr(trust, "chosen_members", lambda state, count: list(state.records))
    assert main(["trust", f"run={run}", "members=2", "factor=2", "workers=1"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.count("Trainings of 240 steps show how networks use them up, not which") == 2
    assert "Trainings of 240 steps show how networks" in (run / "report.html").read_text()


def test_next_search_on_these_pictures_takes_what_was_kept(used_up, tmp_path):
    shutil.copytree(used_up, tmp_path / "folder")
    printed = search(tmp_path / "folder", "next", seed=7)
    assert "ladder at 480 steps, kept by an earlier search in" in printed
    assert "trained once more" not in printed
    states = [load_run(tmp_path / "folder" / name) for name in ("run", "next")]
    assert states[0].longer_ladder == states[1].longer_ladder
    assert USED_UP in printed


def test_it_can_be_left_out_and_that_is_said(used_up, tmp_path):
    shutil.copytree(used_up, tmp_path / "folder")
    printed = search(tmp_path / "folder", "other", ladder_long="false", **{"proxy.steps": 3})
    assert "How far the data last was not checked (ladder_long=false)" in printed
    assert USED_UP not in printed
    state = load_run(tmp_path / "folder" / "other")
    assert not state.longer_ladder
    assert state.verdict.lasting is None


@pytest.mark.slow
def test_search_killed_in_its_longer_training_goes_on_there(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_crops(tmp_path)
    roles = {f"data.{role}": tmp_path / role for role in CROPS}
    overrides = [f"{key}={value}" for key, value in (SETTINGS | roles).items()]
    with Session(tmp_path / "run", overrides) as session:
        while "trained once more" not in session.text():
            assert session.process.poll() is None, session.text()
            time.sleep(0.05)
        session.kill_group()
    before = load_run(tmp_path / "run", "without tail")
    assert len(before.ladder) == 4
    assert before.verdict is None
    assert not before.longer_ladder
    with Session(tmp_path / "run", ["trials=1"]) as session:
        assert session.end() == 0, session.text()
    after = load_run(tmp_path / "run")
    assert after.ladder == before.ladder
    assert [longer.rung for longer in after.longer_ladder] == ["28x6"]
    assert after.verdict.lasting.is_used_up


def test_a_run_from_before_the_longer_ladder_goes_on_without_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table = [
        "evaluator=table",
        "space=esr_bench_mini",
        "challenge=esr_bench_mini",
        "proxy.steps=2000",
    ]
    assert main(["search", *table, "ladder_long=false", "trials=3", "workers=1", "run=run"]) == 0
    config = tmp_path / "run/.hydra/config.yaml"
    config.write_text(config.read_text().replace("ladder_long: false\n", ""))
    assert "ladder_long" not in config.read_text()
    assert main(["search", "run=run", "trials=5"]) == 0
    assert main(["search", "run=run", "trials=6", "ladder_long=true"]) == 2
    assert "ladder_long" in capsys.readouterr().err
