"""Faults as a user meets them: exit statuses, their one line, `retry=failed`, and what is resumed."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from nas.cli.door import main
from nas.search.engines import simulated
from nas.search.store.run_folder import run_directory
from nas.search.store.run_folder.runs import load_run
from nas.search.table.evaluator import TableEvaluator
from nas.system.faults import ArchitectureError
from nas.system.files import record_file
from tests.disks import mounted
from tests.nas.commands.test_search_table import SPACE
from tests.nas.search.table.tables import table

ROOT = Path(__file__).parents[3]
DISK = OSError(28, "No space left on device")
TABLE = [
    "evaluator=table",
    "table=t.parquet",
    "proxy.steps=40",
    "sampler=random",
    "workers=1",
    *SPACE,
]


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Run a command beside the made-up table; gives its exit status and what it printed."""
    monkeypatch.chdir(tmp_path)
    table().save(tmp_path / "t.parquet")

    def run(*arguments):
        status = main([*map(str, arguments)])
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


@pytest.fixture
def breaks(monkeypatch):
    """Let calls of the table's evaluator raise where an error is found for them."""

    def breaks(method, find_error):
        original = getattr(TableEvaluator, method)

        def call(self, what, *others):
            if error := find_error(what):
                raise error
            return original(self, what, *others)

        monkeypatch.setattr(TableEvaluator, method, call)

    return breaks


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 32 MB: a page and its draft take 10."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted(folder, "size=32m"):
        yield folder


@pytest.fixture
def mend(monkeypatch, tmp_path):
    """Let nothing raise any more."""

    def mend():
        monkeypatch.undo()
        monkeypatch.chdir(tmp_path)

    return mend


def rows(run):
    frame = pd.read_csv(f"{run}/trials.csv")
    return frame[["number", "state", "arch_id", "psnr_db"]]


def test_fault_of_the_machine_is_one_line_and_status_1_and_the_run_goes_on(call, breaks, mend):
    call("search", "run=whole", "trials=6", *TABLE)
    breaks("trial", lambda request: DISK if request.number == 4 else None)
    status, _, error = call("search", "run=a", "trials=6", *TABLE)
    assert status == 1
    assert error == (
        "nas search: trial 4: OSError: [Errno 28] No space left on device (3 times in a row); "
        "nothing that had finished is lost: nas search run=a\n"
    )
    assert len(load_run(Path("a")).records) == 4
    mend()
    assert call("search", "run=a")[0] == 0
    pd.testing.assert_frame_equal(rows("a"), rows("whole"))


def test_fault_before_the_first_row_leaves_a_run_to_go_on_with(call, breaks, mend):
    breaks("ladder_run", lambda rung: DISK)
    assert call("search", "run=a", "trials=2", *TABLE)[0] == 1
    mend()
    assert call("search", "run=a")[0] == 0
    assert len(rows("a")) == 3


@pytest.mark.parametrize("place", ["journal", "folder"])
def test_disk_that_takes_no_more_is_the_machines_fault(call, monkeypatch, place, mend):
    def refuse(*arguments):
        raise DISK

    if place == "journal":
        monkeypatch.setattr(record_file, "_write_all", refuse)
    else:
        monkeypatch.setattr(run_directory, "write", refuse)
    status, _, error = call("search", "run=a", "trials=2", *TABLE)
    assert status == 1
    assert error.endswith("no space left on device\n")  # nothing was begun, and nothing is left
    assert not Path("a").exists()
    mend()
    assert call("search", "run=a", "trials=2", *TABLE)[0] == 0


def test_failed_rows_are_evaluated_again_once(call, breaks, mend):
    call("search", "run=whole", "trials=6", *TABLE)
    breaks("trial", lambda r: ArchitectureError("x") if r.number in (2, 5) else None)
    assert call("search", "run=a", "trials=6", *TABLE)[0] == 0
    assert rows("a")["state"].tolist().count("failed") == 2
    mend()
    status, printed, _ = call("search", "run=a", "retry=failed")
    assert status == 0
    assert "retry=failed: failed rows that are evaluated again: 2" in printed
    pd.testing.assert_frame_equal(rows("a"), rows("whole"))
    assert "retry" not in Path("a/.hydra/config.yaml").read_text()
    assert "retry=failed" not in call("search", "run=a")[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["retry=all", "run=a"], "retry: expected one of failed or null, got"),
        (["retry=failed"], "retry=failed goes on with a run; name it with run="),
        (["retry=failed", "run=nowhere"], "retry=failed: there is no run in run=nowhere to go on"),
    ],
)
def test_retry_of_nothing_is_refused_in_one_line(call, tmp_path, arguments, words):
    status, _, error = call("search", *arguments, *TABLE)
    assert status == 2
    assert re.search(words, error), error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


def test_fault_of_the_machine_ends_trust_and_keeps_what_was_trained(call, breaks, mend):
    wide = ["challenge.gate.min_gain_db=-2.0", "objectives=[psnr_gain_db,params]"]
    arguments = [word.replace("proxy.steps=40", "proxy.steps=20") for word in TABLE]
    assert call("search", "run=a", "trials=12", *arguments, *wide)[0] == 0
    trained = []

    def find_error(spec):
        trained.append(spec)
        return DISK if len(trained) > 1 else None

    breaks("train", find_error)
    status, _, error = call("trust", "run=a", "members=3")
    assert (status, error.count("\n")) == (1, 1)
    assert "No space left on device; what is done is kept; the same command goes on" in error
    assert len(load_run(Path("a")).retrained) == 1
    mend()
    assert call("trust", "run=a", "members=3")[0] == 0
    assert len(load_run(Path("a")).retrained) == 3


@pytest.mark.parametrize("left", [60_000, 20_000, 0])
def test_run_on_a_full_disk_goes_on_once_there_is_room(call, small_disk, left):
    """A file system on which so many bytes are left."""
    call("search", "run=whole", "trials=6", *TABLE)
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    os.truncate(filler, filler.stat().st_size - left)
    status, _, error = call("search", f"run={small_disk}/run", "trials=6", *TABLE)
    assert status in (0, 1)  # 0: where the journal alone had room
    assert error.count("\n") == (status == 1)
    filler.unlink()
    status, *_ = call("search", f"run={small_disk}/run", "trials=6", *TABLE)
    assert status == 0
    pd.testing.assert_frame_equal(rows(small_disk / "run"), rows("whole"))
    assert not list(small_disk.glob("run/*.partial"))


def test_worker_that_answers_nothing_any_more_ends_no_search_twice(call, monkeypatch):
    """An engine that says of each task that its worker died."""
    monkeypatch.setattr(
        simulated,
        "run_task",
        lambda _, task, say: simulated.Result(task=task, died=True, error="x"),
    )
    status, _, error = call("search", "run=a", "trials=2", *TABLE)
    assert status == 1
    assert error.startswith("nas search: baseline: x (3 times in a row); nothing")


@pytest.mark.slow
def test_search_loses_nothing_to_a_fault_at_any_moment():
    """A sample of the script's points, of each place and kind one."""
    command = [sys.executable, ROOT / "benchmarks" / "search" / "faults.py", "--trials", "2"]
    done = subprocess.run([*command, "--sample", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("1 points, rows lost 0, twice 0, next proposal equal 1") == 11
