"""Files that are written whole or not at all."""

import pytest

from nas.system.drafts import replaced


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
