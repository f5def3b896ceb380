"""Where nothing can be written, every command that writes ends in one line and leaves nothing."""

import contextlib
import resource
import shutil
import subprocess

import pytest

from nas.cli.door import main
from tests.disks import mounted
from tests.nas.commands.test_output import SEARCH, TABLE
from tests.nas.commands.test_readers import list_files
from tests.nas.search.table.tables import table

COMMANDS = {
    "report": ["report", "run=place/tiny"],
    "export": ["export", "run=tiny", "pick=best_psnr", "out=place/new/folder/mine"],
    "evaluate": ["evaluate", "arch=tiny:best_psnr", "data=folder", "data.val={pictures}/val",
                 "out=place/psnr.csv"],
    "data": ["data", "data=folder", "data.train={pictures}/train", "out=place/samples.png"],
    "rank": ["rank", "table=r.csv", "out=place/ranked.csv"],
    "tabulate": ["tabulate", "out=place/new/t.parquet", "proxy.steps=2", "fidelity.rungs=[]",
                 "data=folder", "data.train={pictures}/train", "data.val={pictures}/val"],
    "search": ["search", "run=place/run", "trials=2", *SEARCH],
    "search, unnamed": ["search", "trials=2", *SEARCH],
    "search, resumed": ["search", "run=place/tiny", "trials=9"],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch, tiny_run):
    """A folder to stand in, with a run and an empty folder `place`."""
    monkeypatch.chdir(tmp_path)
    table().save(tmp_path / "t.parquet")
    (tmp_path / "r.csv").write_text(TABLE)
    shutil.copytree(tiny_run, "tiny")
    (tmp_path / "place").mkdir()
    return tmp_path


@contextlib.contextmanager
def full():
    """Let the system refuse to write into any file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def call(name, pictures, capsys):
    """Run a command; return what it said on standard error, which is one line."""
    words = [word.format(pictures=pictures) for word in COMMANDS[name]]
    capsys.readouterr()
    status = main(words)
    told = capsys.readouterr().err
    assert (status, told.count("\n")) == (1, 1), told
    return told


@pytest.mark.parametrize("name", COMMANDS)
def test_full_disk_is_one_line_and_nothing_is_left(folder, pictures, capsys, name):
    shutil.copytree("tiny", "place/tiny")
    before = list_files(folder)
    with full():
        told = call(name, pictures, capsys)
    assert "file too large" in told
    after = list_files(folder)
    for files in (before, after):
        files.pop(folder / "place/tiny/.lock")  # empty, and stays
    assert after == before
    assert not (folder / "place/new").exists()
    assert not (folder / "place/run").exists()
    assert not (folder / "runs").exists()


def test_read_only_folder_is_one_line_and_nothing_is_left(folder, pictures, capsys):
    with mounted(folder / "place", "size=20m"):
        shutil.copytree("tiny", "place/tiny")
        subprocess.run(["mount", "-o", "remount,ro", "place"], check=True)
        before = list_files(folder)
        for name in COMMANDS:
            if name != "search, unnamed":  # it lies elsewhere
                told = call(name, pictures, capsys)
                assert "place/" in told
                assert "read-only file system" in told
        assert list_files(folder) == before
