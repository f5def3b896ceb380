"""Real processes that are asked to end, at many moments and many times in a row."""

import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from nas.cli.door import main
from nas.search.store.run_folder.runs import load_run
from tests.nas.commands.test_search_table import SPACE
from tests.nas.search.sessions import arguments, hears_ctrl_c
from tests.nas.search.table.tables import table

STATUSES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
PATIENCE = 300.0


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the made-up table, to stand in."""
    monkeypatch.chdir(tmp_path)
    table().save(tmp_path / "t.parquet")
    return tmp_path


def hear_all():
    """Hear what a terminal sends, whatever the parent of this test ignores."""
    hears_ctrl_c()
    for number in STATUSES:
        signal.signal(number, signal.SIG_DFL)


def start(*overrides, ignored=None):
    """Start a search in a process group of its own, with pipes."""

    def prepare():
        hear_all()
        if ignored:
            signal.signal(ignored, signal.SIG_IGN)

    return subprocess.Popen(
        [sys.executable, "-m", "nas", "search", "run=a", *overrides],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=prepare,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def search_table(*overrides, **options):
    values = ("evaluator=table", "table=t.parquet", "proxy.steps=40", "workers=1", *SPACE)
    return start(*values, *overrides, **options)


def wait_for(process, sign):
    """Read the output up to a line that holds a sign; return that line."""
    for line in process.stdout:
        if sign in line:
            return line
    raise AssertionError(process.stderr.read())


def ask_to_end(process, number, times):
    """Send a signal to the whole process group, as a terminal does, several times in a row."""
    for _ in range(times):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:  # it has ended
            return
        time.sleep(0.02)


def is_alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def end(process):
    """Return the last line of standard output, standard error and the exit status."""
    printed, told = process.communicate(timeout=PATIENCE)

    # Nobody is left of its group; Python's own tracker of shared memory ends a moment later.
    deadline = time.monotonic() + PATIENCE
    while is_alive(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return (printed.strip().splitlines() or [""])[-1], told, process.returncode


@pytest.mark.parametrize(("number", "status"), STATUSES.items())
def test_a_search_that_is_asked_to_end_says_how_to_go_on_and_loses_nothing(folder, number, status):
    process = search_table("trials=16")
    wait_for(process, "trial 3 complete")
    ask_to_end(process, number, 6)
    line, told, code = end(process)
    assert (told, code) == ("", status)
    assert line == "Stopped; nothing that had finished is lost. Go on with: nas search run=a"
    assert not list(folder.glob("a/*.partial"))
    stopped = load_run(folder / "a").records
    assert len(stopped) > 3

    # What had finished stays, and what follows is what would have followed.
    assert main(["search", "run=a"]) == 0
    assert main(["search", "run=b", "trials=16", "evaluator=table", "table=t.parquet",
                 "proxy.steps=40", "workers=1", *SPACE]) == 0  # fmt: skip
    assert load_run(folder / "a").records[: len(stopped)] == stopped
    columns = ["number", "arch_id", "psnr_db", "state"]
    again, whole = (pd.read_csv(f"{run}/trials.csv")[columns] for run in "ab")
    pd.testing.assert_frame_equal(again, whole)


@pytest.mark.parametrize(
    "sign", ["nas search:", "nothing is trained", "baseline", "16 trials done"]
)
def test_six_ctrl_c_are_one_line_at_any_moment(folder, sign):
    process = search_table("trials=16")
    if "done" in sign:  # while the last files are written: the summary is printed after them
        wait_for(process, "trial 16")
    else:
        wait_for(process, sign)
    ask_to_end(process, signal.SIGINT, 6)
    line, told, code = end(process)
    if code == 0:  # it had ended before
        assert "Report: " in line
        return
    assert code == 130
    assert "Traceback" not in told
    assert "ignored" not in told
    assert (line, told) == (
        ("Stopped; nothing that had finished is lost. Go on with: nas search run=a", "")
        if line.startswith("Stopped")
        else (line, "nas search: interrupted\n")
    )
    assert main(["search", "run=a", "trials=16", "evaluator=table", "table=t.parquet",
                 "proxy.steps=40", "workers=1", *SPACE]) == 0  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("wait", [0.0, 2.0])
def test_ctrl_c_while_workers_are_started_is_one_line(folder, pictures, wait):
    """A worker that is still loading is part of the terminal's process group too."""
    process = start(*arguments(pictures, trials=4))
    while not (folder / "a/.hydra/config.yaml").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    time.sleep(wait)
    ask_to_end(process, signal.SIGINT, 6)
    line, told, code = end(process)
    assert (told, code) == ("", 130)
    assert line.startswith("Stopped; nothing that had finished is lost.")


def test_a_signal_that_is_ignored_stays_ignored(folder):
    process = search_table("trials=5", ignored=signal.SIGHUP)
    wait_for(process, "baseline")
    ask_to_end(process, signal.SIGHUP, 2)
    line, told, code = end(process)
    assert (told, code) == ("", 0)
    assert "Report: " in line


def test_a_second_ctrl_c_is_heard_where_the_first_was_swallowed(monkeypatch):
    from nas.cli import signals

    monkeypatch.setattr(signals, "GRACE_SECONDS", 0.0)
    with signals.heard(until_the_end=False) as heard:
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    assert heard.stop.status == 130


def test_handlers_return_where_the_process_goes_on():
    before = [signal.getsignal(number) for number in STATUSES]
    main(["--version"])
    assert [signal.getsignal(number) for number in STATUSES] == before
