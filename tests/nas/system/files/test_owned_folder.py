"""Temporary folders go with their processes, also with killed ones."""

import doctest
import gc
import multiprocessing
import os
import subprocess
import sys

import pytest

from nas.system import file_locks
from nas.system.files import owned_folder
from nas.system.files.owned_folder import OWNER, PREFIX, OwnedFolder, sweep_folders

HOLD = """
import sys, time
from pathlib import Path
from nas.system.files.owned_folder import OwnedFolder
folder = OwnedFolder(Path(sys.argv[1]))
(folder.path / "large").write_text("x" * 1000)
print(folder.path, flush=True)
{then}
"""


def start(parent, then="time.sleep(600)"):
    return subprocess.Popen(
        [sys.executable, "-c", HOLD.format(then=then), str(parent)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def names(parent):
    return sorted(path.name for path in parent.iterdir())


def test_folder_goes_at_the_end_of_its_block_of_an_error_and_of_its_owner(tmp_path):
    with OwnedFolder(tmp_path) as path:
        (path / "file").touch()
        assert path.stat().st_mode & 0o777 == 0o700
    with pytest.raises(ZeroDivisionError), OwnedFolder(tmp_path):
        raise ZeroDivisionError
    folder = OwnedFolder(tmp_path)
    folder.close()
    folder.close()
    folder = OwnedFolder(tmp_path)
    del folder
    gc.collect()
    assert names(tmp_path) == []


@pytest.mark.parametrize("then", ["", "raise SystemExit(3)", "1 / 0"])
def test_folder_goes_when_its_process_ends(tmp_path, then):
    process = start(tmp_path, then)
    assert process.communicate()[0]
    assert names(tmp_path) == []


def test_folder_of_a_killed_process_goes_with_the_next_and_a_living_ones_stays(tmp_path):
    dead, alive = start(tmp_path), start(tmp_path)
    kept = [process.stdout.readline().strip() for process in (dead, alive)][1]
    dead.kill()
    dead.communicate()
    assert len(names(tmp_path)) == 2
    with OwnedFolder(tmp_path) as own:
        assert names(tmp_path) == sorted([own.name, os.path.basename(kept)])
    assert (tmp_path / kept / "large").exists()
    alive.kill()
    alive.communicate()
    sweep_folders(tmp_path)
    assert names(tmp_path) == []


def test_folder_that_was_killed_before_it_had_a_lock_goes_too(tmp_path):
    (tmp_path / f"{PREFIX}abcdefgh").mkdir()
    sweep_folders(tmp_path)
    assert names(tmp_path) == []


def test_what_is_no_folder_of_ours_stays(tmp_path):
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "file").touch()
    (tmp_path / f"{PREFIX}abcdefgh").symlink_to(other)  # a link
    (tmp_path / f"{PREFIX}file0000").touch()  # a file
    (tmp_path / f"{PREFIX}of-somebody").mkdir()  # another name
    if os.geteuid() == 0:
        (tmp_path / f"{PREFIX}stranger").mkdir()
        os.chown(tmp_path / f"{PREFIX}stranger", 12345, -1)
    before = names(tmp_path)
    sweep_folders(tmp_path)
    assert names(tmp_path) == before
    assert (other / "file").exists()
    assert not (other / OWNER).exists()


def test_nothing_is_swept_where_the_dead_cannot_be_told_from_the_living(tmp_path, monkeypatch):
    (tmp_path / f"{PREFIX}abcdefgh").mkdir()
    monkeypatch.setattr(file_locks, "fcntl", None)
    monkeypatch.setattr(file_locks, "msvcrt", None)
    sweep_folders(tmp_path)
    assert names(tmp_path) == [f"{PREFIX}abcdefgh"]


def test_forked_child_does_not_take_its_parents_folder_along(tmp_path):
    with OwnedFolder(tmp_path) as path:
        child = multiprocessing.get_context("fork").Process(target=gc.collect)
        child.start()
        child.join()
        assert path.exists()
        sweep_folders(tmp_path)
        assert path.exists()


def test_examples_run():
    assert doctest.testmod(owned_folder).failed == 0
