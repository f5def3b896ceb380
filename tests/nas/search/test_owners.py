"""What real searches leave in the folder for temporary files, and on images that changed."""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from nas.cli.door import main
from nas.search.store.run_folder.resuming import Resumption, compare_conditions
from nas.search.store.run_folder.run_directory import read_environment
from nas.system.files.owned_folder import PREFIX
from tests.nas.search.sessions import PATIENCE, Session, arguments, recorded, search

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files of the searches of a test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


def in_files(pictures, **changes):
    """A search whose decoded images are more than may lie in memory."""
    return arguments(pictures, **{"data.memory_mib": 0.01} | changes)


def left_over(folder):
    """List what lies there beside the lock files and torch's cache of kernels, which stay."""
    staying = f"esr-nas-{os.getuid()}", "torchinductor_"
    return [path.name for path in folder.iterdir() if not path.name.startswith(staying)]


def list_users(folder):
    return [path.name for path in folder.glob("esr-nas-*/*.users/*")]


def mapped_by(pid):
    """List the decoded images that a process has mapped."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {line.split()[-1] for line in lines if line.endswith(".u8")}


def wait_for_maps(session):
    """Wait until both workers have mapped decoded images; return which, by worker."""
    deadline = time.monotonic() + PATIENCE
    while True:
        assert session.process.poll() is None, session.text()
        assert time.monotonic() < deadline, session.text()
        maps = [mapped_by(pid) for pid in session.workers()]
        if len(maps) == 2 and all(maps):
            return maps
        time.sleep(0.05)


@needs_proc
@pytest.mark.slow
def test_all_workers_map_one_store_which_goes_with_the_search(
    pictures, tmp_path, temporary, capsys
):
    """At Ctrl-C, with the next command after a kill, and at a normal end; then its images change."""
    run, own_pictures = tmp_path / "run", shutil.copytree(pictures, tmp_path / "pictures")
    with Session(run, in_files(own_pictures, trials=400)) as session:
        one, other = wait_for_maps(session)
        assert one == other
        assert len(left_over(temporary)) == 1
        session.signal_group(signal.SIGINT)
        assert session.end() == 130, session.text()
    assert left_over(temporary) == []
    assert list_users(temporary) == []

    with Session(run, ["trials=400"]) as session:
        wait_for_maps(session)
        session.kill_group()
    assert len(left_over(temporary)) == 1
    with Session(run, ["trials=400"]) as session:
        wait_for_maps(session)
        session.kill_parent()
    assert len(left_over(temporary)) == 1  # the one before is gone

    search(run, [f"trials={max(recorded(run), default=0) + 1}"])
    assert left_over(temporary) == []

    one, other = sorted((own_pictures / "val").iterdir())
    for first, second in ((one, run / "aside"), (other, one), (run / "aside", other)):
        first.rename(second)
    before = read_files(run)
    assert main(["search", f"run={run}", "trials=99"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"nas search: data.val: the images of run={run} changed")
    assert error.count("\n") == 1
    assert read_files(run) == before
    assert left_over(temporary) == []


def read_files(run):
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_trust_refuses_other_images_than_the_runs(tiny_copy, temporary, capsys):
    environment = tiny_copy / "environment.json"
    known = read_environment(tiny_copy)["data"]["val"]
    environment.write_text(environment.read_text().replace(known, "2-000000000000"))
    before = read_files(tiny_copy)
    assert main(["trust", f"run={tiny_copy}", "factor=2"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"nas trust: data.val: the images of run={tiny_copy} changed")
    assert error.count("\n") == 1
    assert read_files(tiny_copy) == before
    assert left_over(temporary) == []


@pytest.mark.slow
def test_tabulate_leaves_nothing(pictures, tmp_path, temporary, capsys):
    """Its trainings use the same store, in an empty run directory of their own."""
    search_alone = ("trials", "ladder_seeds", "space", "workers")
    words = [word for word in in_files(pictures) if not word.startswith(search_alone)]
    space = [
        "space=span", "space.channels=[8]", "space.num_blocks=[1,2]", "space.skip=[none]",
        "space.taps=[all]", "space.attention=[parameter_free]", "space.activation=[silu]",
        "space.tail_channels=[1.0]", "ladder=[8x1,8x2]", "repeated=0", "seeds=1",
        "fidelity.rungs=[]", "workers=1",
    ]  # fmt: skip
    assert main(["tabulate", f"out={tmp_path / 'mini.parquet'}", *words, *space]) == 0
    assert "2 members in " in capsys.readouterr().out
    assert left_over(temporary) == []


@pytest.mark.slow
def test_trust_leaves_nothing(tiny_copy, temporary):
    assert main(["trust", f"run={tiny_copy}", "factor=2", "workers=1", "device=cpu"]) == 0
    assert left_over(temporary) == []


def test_run_of_an_earlier_version_is_refused_by_its_fingerprints(tiny_run):
    now = read_environment(tiny_run)["data"]
    assert all(value.startswith("2-") for value in now.values())
    same = compare_conditions(tiny_run, Resumption(resumes=True), conditions={}, fingerprints=now)
    assert not same.change
    # What earlier versions kept is twelve digits without a version.
    text = (tiny_run / "environment.json").read_text()
    earlier = tiny_run.parent / "earlier"
    shutil.copytree(tiny_run, earlier)
    (earlier / "environment.json").write_text(text.replace('"2-', '"'))
    with pytest.raises(ValueError, match=r"earlier version, .* knew names and sizes.* warm_start="):
        compare_conditions(earlier, Resumption(resumes=True), conditions={}, fingerprints=now)
    shutil.rmtree(earlier)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_lock_folder_of_a_stranger_is_refused_before_a_run_is_made(
    pictures, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / f"esr-nas-{os.getuid()}").mkdir()
    (tmp_path / f"esr-nas-{os.getuid()}").chmod(0o777)
    assert main(["search", f"run={tmp_path / 'run'}", *arguments(pictures)]) != 0
    error = capsys.readouterr().err
    assert "can be written by every user (mode 0777); remove it, or name another" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_temporary_folders_have_a_name_of_their_own():
    """A user's own esr-nas-something is never swept."""
    assert PREFIX == "esr-nas-temporary-"
