"""Files that are written whole or not at all."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from nas.system.files.drafts import UnwritableError, replaced


def test_a_draft_takes_the_place_of_its_file(tmp_path):
    path = tmp_path / "folder" / "file"
    with replaced(path, tmp_path / "folder" / "draft") as draft:
        draft.write_text("new")
    assert path.read_text() == "new"
    assert [one.name for one in path.parent.iterdir()] == ["file"]


def test_a_draft_that_could_not_be_written_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def write_half():
        with replaced(path, tmp_path / "draft") as draft:
            draft.write_text("ne")
            raise OSError("disk full")

    with pytest.raises(OSError, match="full"):
        write_half()
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_no_file_is_written_through_a_link_under_the_drafts_name(tmp_path):
    (tmp_path / "other").write_text("other")
    (tmp_path / "draft").symlink_to(tmp_path / "other")
    with replaced(tmp_path / "file", tmp_path / "draft") as draft:
        draft.write_text("new")
    assert (tmp_path / "other").read_text() == "other"
    assert (tmp_path / "file").read_text() == "new"


def test_a_pipe_is_written_into_and_not_replaced(tmp_path):
    """`out=/dev/full` once replaced the device by a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE)
    with replaced(pipe) as draft:
        draft.write_text("new")
    assert reader.communicate()[0] == b"new"
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


@pytest.mark.parametrize("name", ["/dev/full", "/dev/null", "/dev/stdout", "/proc/self/fd/1"])
def test_a_device_and_a_stream_are_never_replaced(name):
    with replaced(Path(name)) as draft:
        assert draft == Path(name)


def test_a_file_that_cannot_be_written_is_named_and_not_its_draft(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UnwritableError) as caught,
        replaced(tmp_path / "file" / "inner") as draft,
    ):
        draft.write_text("")
    assert caught.value.filename == str(tmp_path / "file" / "inner")


def test_an_error_of_another_file_stays_its_own(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, replaced(tmp_path / "file"):
        (tmp_path / "other").read_text()
    assert not isinstance(caught.value, UnwritableError)
    assert list(tmp_path.iterdir()) == []
