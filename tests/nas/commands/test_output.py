"""Output decides nothing: what is printed and what is made of a journal end no search."""

import contextlib
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from nas.cli.door import main
from nas.report import terminal
from nas.report.panels import progress
from tests.disks import fill, mounted
from tests.nas.commands.test_search_table import SPACE
from tests.nas.search.table.tables import table

SEARCH = ("evaluator=table", "table=t.parquet", "proxy.steps=40", "workers=1", *SPACE)
TABLE = "psnr_db,runtime_ms,params,flops,name\n26.95,5,1e5,9e9,a[/y]b\x1b[2J\n"
COLUMNS = ["number", "arch_id", "psnr_db", "state"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the made-up table, to stand in."""
    monkeypatch.chdir(tmp_path)
    table().save(tmp_path / "t.parquet")
    (tmp_path / "r.csv").write_text(TABLE)
    return tmp_path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The rows of a search that nothing disturbs."""
    home = tmp_path_factory.mktemp("undisturbed")
    with contextlib.chdir(home):
        table().save(home / "t.parquet")
        assert main(["search", "run=a", "trials=8", *SEARCH]) == 0
        return pd.read_csv("a/trials.csv")[COLUMNS]


@pytest.fixture
def call(capsys):
    """Run `nas` in this process; return status and output."""

    def call(command):
        capsys.readouterr()
        status = main(command)
        return status, *capsys.readouterr()

    return call


def run_nas(command, *, shell='"$@"', **options):
    """Run `nas` in a shell that says what becomes of its streams; return status and output."""
    script = f"{shell}; exit ${{PIPESTATUS[0]}}"
    words = [sys.executable, "-m", "nas", *command]
    done = subprocess.run(
        ["bash", "-c", script, "bash", *words], capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, **options,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert "ignored" not in done.stderr  # Exception ignored in ...
    return done.returncode, done.stdout, done.stderr


# Files that are made of the journal.


@pytest.mark.parametrize("name", ["trials.csv", "front.csv", "report.html"])
def test_a_file_that_cannot_be_written_ends_no_search(folder, undisturbed, name, capsys):
    """A folder of that name; the others are written, and the file too once it can be."""
    assert main(["search", "run=a", "trials=2", *SEARCH]) == 0
    (folder / "a" / name).unlink()
    (folder / "a" / name / "inner").mkdir(parents=True)
    capsys.readouterr()
    assert main(["search", "run=a", "trials=8", *SEARCH]) == 0
    printed = capsys.readouterr()
    assert f"Not written: {name} (is a directory); the journal holds all, and nas report run=a" in (
        printed.out
    )
    assert printed.err == ""
    for other in {"trials.csv", "front.csv", "report.html"} - {name}:
        assert (folder / "a" / other).is_file()
    assert not list(folder.glob("a/**/*.partial"))

    # `nas report` is refused in one line for as long as the fault lasts.
    assert main(["report", "run=a"]) == 1
    assert capsys.readouterr().err == f"nas report: a/{name}: is a directory\n"
    shutil.rmtree(folder / "a" / name)
    assert main(["report", "run=a"]) == 0
    pd.testing.assert_frame_equal(pd.read_csv("a/trials.csv")[COLUMNS], undisturbed)


def test_a_panel_that_fails_ends_no_search(folder, undisturbed, monkeypatch, capsys):
    def fail(state):
        raise KeyError("[/y]\x1b[2J")

    with monkeypatch.context() as patch:
        patch.setattr(progress, "table", fail)
        assert main(["search", "run=a", "trials=8", *SEARCH]) == 0
    printed = capsys.readouterr().out
    assert r"Not written: report.html (KeyError: '[/y]\x1b[2J');" in printed.replace("\\\\", "\\")
    assert "\x1b" not in printed
    assert not (folder / "a/report.html").exists()
    pd.testing.assert_frame_equal(pd.read_csv("a/trials.csv")[COLUMNS], undisturbed)
    assert main(["report", "run=a"]) == 0
    assert "Not written" not in (folder / "a/report.html").read_text()


def test_a_file_is_written_again_when_it_can_be(folder, monkeypatch, capsys):
    """The page fails at first; at the end nothing is said of it."""
    faults = [OSError(28, "No space left on device"), KeyError("x")]
    draw = progress.table

    def fail_twice(state):
        if faults:
            raise faults.pop()
        return draw(state)

    monkeypatch.setattr(progress, "table", fail_twice)
    monkeypatch.setattr("nas.search.store.run_folder.run_directory.MIN_SECONDS", 0.0)
    monkeypatch.setattr("nas.search.store.run_folder.run_directory.MAX_SHARE", 1e9)
    assert main(["search", "run=a", "trials=8", *SEARCH]) == 0
    printed = capsys.readouterr().out
    assert not faults
    assert "note: Not written: report.html (KeyError" in printed
    assert printed.strip().endswith("8 trials done. Report: a/report.html")
    assert "Not written" not in (folder / "a/report.html").read_text()


@pytest.mark.parametrize("size", ["256k", "8m"])
def test_a_full_disk_ends_no_search_but_where_the_journal_lies(folder, undisturbed, size, call):
    place = folder / "small"
    place.mkdir()
    with mounted(place, f"size={size}"):
        status, printed, told = call(["search", "run=small/a", "trials=8", *SEARCH])
        if size == "256k":  # smaller than a page
            assert "Not written: report.html (no space left on device)" in printed
        assert (status, told) == (0, "")
        pd.testing.assert_frame_equal(pd.read_csv("small/a/trials.csv")[COLUMNS], undisturbed)
        assert not list(place.glob("a/**/*.partial"))

        # No byte is left for the journal: one line, and the run goes on later.
        (place / "a/report.html").unlink(missing_ok=True)
        fill(place / "fill")
        status, printed, told = call(["search", "run=small/a", "trials=12"])
        assert status == 1
        assert told.count("\n") == 1
        assert "no space left on device" in told.lower()
        (place / "fill").unlink()
        status, printed, told = call(["search", "run=small/a", "trials=12"])
        assert (status, told) == (0, "")
        rows = pd.read_csv("small/a/trials.csv")[COLUMNS]
        pd.testing.assert_frame_equal(rows.head(len(undisturbed)), undisturbed)
        assert rows["number"].tolist() == list(range(13))


def test_files_of_a_folder_that_is_read_only_are_refused_with_status_1(folder, call):
    place = folder / "small"
    place.mkdir()
    with mounted(place, "size=20m"):
        assert call(["search", "run=small/a", "trials=2", *SEARCH])[0] == 0
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        for command, path in [
            (["report", "run=small/a"], "small/a/trials.csv"),
            (["rank", "table=r.csv", "out=small/x.csv"], "out=small/x.csv"),
            (["search", "run=small/b", *SEARCH], "run=small/b"),
        ]:
            status, _, told = call(command)
            assert status == 1, told
            assert told == f"nas {command[0]}: {path}: read-only file system\n"


# What is printed.


@pytest.mark.parametrize("broken", ["open", "update", "summary"])
def test_a_display_that_fails_ends_no_search(folder, undisturbed, monkeypatch, capsys, broken):
    def fail(*_, **__):
        raise RuntimeError("no such [/colour]\x1b[2J")

    names = {"open": "__enter__", "update": "update"}
    if broken == "summary":
        monkeypatch.setattr("nas.commands.search.summary", fail)
    else:
        monkeypatch.setattr(terminal.Display, names[broken], fail)
    assert main(["search", "run=a", "trials=8", *SEARCH]) == 0
    printed = capsys.readouterr()
    what = "the summary" if broken == "summary" else "the display"
    assert printed.err == (
        f"{what} failed (RuntimeError: no such [/colour]\\x1b[2J); it is left out, "
        "and nothing else is lost\n"
    )
    assert printed.out.strip().endswith("8 trials done. Report: a/report.html")
    pd.testing.assert_frame_equal(pd.read_csv("a/trials.csv")[COLUMNS], undisturbed)


SHORT = {  # commands that print and end
    "overview": ["--help"],
    "help": ["search", "--help"],
    "version": ["--version"],
    "rank": ["rank", "table=r.csv"],
}
WRONG = {"usage": ["rank", "table=nowhere.csv"]}
LONGER = {
    "spaces": ["spaces", "space=spanv2"],
    "data": ["data"],
    "profile": ["profile", "arch=published/span", "measure=false"],
}


@pytest.mark.parametrize(
    ("command", "reader"),
    [
        *((command, reader) for command in SHORT.values() for reader in ("true", "head -1")),
        *((command, "true") for command in LONGER.values()),
    ],
)
def test_a_reader_that_goes_away_is_status_141(folder, command, reader):
    # The reader is gone before anything is printed; or it has the first line.
    status, _, told = run_nas(command, shell=f'"$@" | ({reader})')
    # All that a command prints may fit into the pipe before its reader goes.
    assert status == 141 or (reader != "true" and status == 0)
    assert told == ""


@pytest.mark.parametrize(
    ("command", "unbuffered"),
    [
        *((command, "") for command in [*SHORT.values(), *LONGER.values()]),
        (SHORT["rank"], "1"),
    ],
)
def test_output_that_cannot_be_written_is_one_line_and_status_1(
    folder, command, unbuffered, monkeypatch
):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    status, _, told = run_nas(command, shell='"$@" > /dev/full')
    assert status == 1
    assert told.endswith(": standard output: no space left on device\n")
    assert told.count("\n") == 1
    if command in SHORT.values():
        status, _, told = run_nas(command, shell='"$@" > /dev/full 2> /dev/full')
        assert (status, told) == (1, "")


@pytest.mark.parametrize("shell", ['"$@" >&-', '"$@" 2>&-', '"$@" >&- 2>&-', '"$@" 2> /dev/full'])
@pytest.mark.parametrize("command", [*SHORT.values(), *WRONG.values()], ids=[*SHORT, *WRONG])
def test_a_closed_stream_is_no_error(folder, command, shell):
    status, _, _ = run_nas(command, shell=shell)
    assert status == (2 if "nowhere" in command[-1] else 0)


def test_rank_into_a_full_device_leaves_the_device(folder):
    status, _, told = run_nas(["rank", "table=r.csv", "out=/dev/full"])
    assert (status, told) == (1, "nas rank: out=/dev/full: no space left on device\n")
    assert Path("/dev/full").is_char_device()
    status, printed, told = run_nas(["rank", "table=r.csv", "out=/dev/stdout"])
    assert (status, told) == (0, "")
    assert "score_runtime,score_params" in printed


def test_a_search_whose_output_is_full_goes_on(folder, undisturbed):
    command = ["search", "run=a", "trials=8", *SEARCH]
    status, _, told = run_nas(command, shell='"$@" > /dev/full')
    assert (status, told) == (
        0, "standard output: no space left on device; what follows is not printed\n"
    )  # fmt: skip
    pd.testing.assert_frame_equal(pd.read_csv("a/trials.csv")[COLUMNS], undisturbed)
    shutil.rmtree("a")
    assert run_nas(command, shell='"$@" > /dev/full 2> /dev/full')[0] == 0
    pd.testing.assert_frame_equal(pd.read_csv("a/trials.csv")[COLUMNS], undisturbed)


def test_a_search_whose_reader_goes_away_ends_in_order_and_goes_on(folder, undisturbed):
    words = [sys.executable, "-m", "nas", "search", "run=a", "trials=8", *SEARCH]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while "trial 1 " not in process.stdout.readline():
        assert process.poll() is None
    process.stdout.close()
    told = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 141
    assert told == (
        "nas search: nobody reads its output. Stopped; nothing that had finished is lost. "
        "Go on with: nas search run=a\n"
    )
    assert not list(folder.glob("a/**/*.partial"))
    assert main(["search", "run=a"]) == 0
    pd.testing.assert_frame_equal(pd.read_csv("a/trials.csv")[COLUMNS], undisturbed)


@pytest.mark.parametrize(
    ("columns", "settings"),
    [
        (1, {"TERM": "xterm"}),
        (20, {"TERM": "dumb", "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}),
        (100, {"TERM": "xterm-256color", "PYTHONIOENCODING": "latin-1"}),
    ],
)
def test_any_terminal_shows_a_search_of_any_name(folder, undisturbed, columns, settings):
    """A real terminal; the run's folder has a name that is no UTF-8, markup and an escape."""
    place = os.fsencode(folder) + b"/[y] :fire: \x1b[2J caf\xe9 ["
    os.mkdir(place)
    shutil.copy("t.parquet", os.fsdecode(place))
    command = ["search", "run=.", "trials=8", *SEARCH]
    status, shown = run_in_terminal(command, place, columns, settings)
    assert status == 0, shown
    assert b"\x1b[2J" not in shown
    assert b"Traceback" not in shown
    if columns > 1:
        assert b"8 trials done" in b" ".join(shown.split())
    assert sorted(os.listdir(place)) == sorted(
        [b".hydra", b".lock", b"environment.json", b"front.csv", b"journal.log", b"report.html",
         b"t.parquet", b"trials.csv"]
    )  # fmt: skip
    rows = pd.read_csv(os.fsdecode(place + b"/trials.csv"))
    pd.testing.assert_frame_equal(rows[COLUMNS], undisturbed)


def run_in_terminal(command, place, columns, settings):
    """Run `nas` in a pseudo-terminal; return its status and all that it showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["bash", "-c", f'stty cols {columns} rows 24; exec "$@"', "bash", sys.executable, "-m",
         "nas", *command],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=place,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": str(columns), **settings},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # the terminal is closed where the process has ended
        while data := os.read(ours, 65536):
            shown += data
    os.close(ours)
    return process.wait(), shown
