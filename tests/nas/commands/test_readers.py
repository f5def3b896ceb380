"""Whoever reads the output of a long command goes away: one line says what is kept."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from nas.cli.door import main
from nas.search.table.log import open_log
from tests.nas.commands.test_output import SEARCH, run_nas
from tests.nas.search.sessions import PATIENCE, arguments, hears_ctrl_c
from tests.nas.search.table.tables import table

GONE = "nobody reads its output"


@pytest.fixture
def folder(tmp_path, monkeypatch, tiny_run):
    """A folder to stand in, with a table and a run."""
    monkeypatch.chdir(tmp_path)
    table().save(tmp_path / "t.parquet")
    shutil.copytree(tiny_run, "tiny")
    return tmp_path


@pytest.fixture
def tabulation(pictures):
    """A table of two members, whose trainings take parts of a second."""
    search_alone = ("trials", "ladder_seeds", "space", "workers")
    words = [word for word in arguments(pictures) if not word.startswith(search_alone)]
    return [
        "tabulate", "out=new/mini.parquet", *words, "space=span", "space.channels=[8]",
        "space.num_blocks=[1,2]", "space.skip=[none]", "space.taps=[all]", "workers=1",
        "space.attention=[parameter_free]", "space.activation=[silu]", "fidelity.rungs=[]",
        "space.tail_channels=[1.0]", "ladder=[8x1,8x2]", "repeated=0", "seeds=1",
    ]  # fmt: skip


def start(command):
    return subprocess.Popen(
        [sys.executable, "-m", "nas", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hears_ctrl_c,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def close_after(command, sign):
    """Read the output up to a line that holds a sign, and go away; return status and stderr."""
    with start(command) as process:
        while sign not in (line := process.stdout.readline()):
            assert line, process.stderr.read()
        process.stdout.close()
        told = process.stderr.read()
        return process.wait(PATIENCE), told


def list_files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", ["search", "tabulate", "trust"])
def test_where_nothing_was_begun_that_is_said_and_nothing_is_left(folder, tabulation, command):
    words = {
        "search": ["search", "run=a", *SEARCH],
        "tabulate": tabulation,
        "trust": ["trust", "run=tiny", "factor=2"],
    }[command]
    before = list_files(folder)
    status, _, told = run_nas(words, shell='"$@" | true')
    assert (status, told) == (141, f"nas {command}: {GONE}; nothing was begun\n")
    assert list_files(folder) == before
    assert not (folder / "new").exists()
    assert not (folder / "a").exists()


def test_table_that_another_process_makes_is_refused(folder, tabulation, capsys):
    with open_log(folder / "new/mini.parquet", {}):
        before = list_files(folder)
        assert main(tabulation) == 2
        assert list_files(folder) == before
    assert capsys.readouterr().err == (
        "nas tabulate: out: another process is making new/mini.parquet; wait for it or stop it "
        "first\n"
    )


def test_table_whose_reader_goes_away_keeps_what_is_done(folder, tabulation):
    status, told = close_after(tabulation, "2 members, 2 trainings")
    assert (status, told) == (
        141,
        f"nas tabulate: {GONE}. Stopped; what is done stands in new/mini.jsonl. "
        "The same command goes on.\n",
    )
    assert [path.name for path in (folder / "new").iterdir()] == ["mini.jsonl"]
    assert len((folder / "new/mini.jsonl").read_bytes().splitlines()) == 2  # settings, a training


def test_table_of_which_nothing_was_done_leaves_nothing(folder, tabulation):
    """Ctrl-C, while its worker is still loading."""
    with start(tabulation) as process:
        while not (folder / "new/mini.jsonl").exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        printed, told = process.communicate(timeout=PATIENCE)
    assert (process.returncode, told) == (130, "")
    assert printed.endswith("\nStopped before anything was done; nothing is left behind.\n")
    assert not (folder / "new").exists()


def test_longer_trainings_whose_reader_goes_away_are_kept(folder):
    status, told = close_after(["trust", "run=tiny", "factor=2", "workers=1"], "6 steps each")
    assert (status, told) == (
        141,
        f"nas trust: {GONE}. Stopped; what is done is kept. The same command goes on.\n",
    )
    assert len((folder / "tiny/trust.jsonl").read_bytes().splitlines()) == 1


def test_search_that_is_done_says_so_where_nobody_reads_its_summary(folder, monkeypatch, capsys):
    def fail(state):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("nas.commands.search.summary", fail)
    assert main(["search", "run=a", "trials=2", *SEARCH]) == 141
    told = capsys.readouterr().err
    assert told == f"nas search: {GONE}. 2 trials done. Report: a/report.html\n"
