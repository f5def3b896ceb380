"""Folders that are this user's alone, or refused."""

import os

import pytest

from nas.system.files.private_folder import open_private
from nas.system.files.user_cache import private_cache

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files to others"
)


def mode(path):
    return path.stat().st_mode & 0o777


@pytest.fixture
def no_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def test_folder_is_made_for_its_user_alone(tmp_path, no_umask):
    folder = open_private(tmp_path / "above" / "mine", way_out="-")
    assert mode(folder) == 0o700
    assert open_private(folder, way_out="-") == folder


@pytest.mark.parametrize("before", [0o755, 0o775, 0o500])
def test_mode_of_an_own_folder_is_set_right(tmp_path, before):
    folder = tmp_path / "mine"
    folder.mkdir()
    folder.chmod(before)
    assert mode(open_private(folder, way_out="-")) == 0o700


def make_link(folder):
    (folder.parent / "other").mkdir()
    folder.symlink_to(folder.parent / "other")


def make_dangling_link(folder):
    folder.symlink_to(folder.parent / "nowhere")


def make_world_writable(folder):
    folder.mkdir()
    folder.chmod(0o777)


def make_sticky(folder):
    folder.mkdir()
    folder.chmod(0o1777)


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (make_link, "is a link"),
        (make_dangling_link, "is a link"),
        (lambda folder: folder.write_text(""), "is no folder"),
        (make_world_writable, r"can be written by every user \(mode 0777\)"),
        (make_sticky, r"can be written by every user \(mode 1777\)"),
    ],
)
def test_what_a_stranger_may_have_made_is_refused_and_left_alone(tmp_path, make, fault):
    folder = tmp_path / "mine"
    make(folder)
    before = os.lstat(folder)
    with pytest.raises(PermissionError, match=f"mine {fault}.*; remove it$"):
        open_private(folder, way_out="remove it")
    assert os.lstat(folder) == before
    assert not (tmp_path / "nowhere").exists()


@needs_root
def test_another_users_folder_is_refused(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, -1)
    with pytest.raises(PermissionError, match=r"belongs to another user \(uid 12345\)"):
        open_private(folder, way_out="-")


def test_folder_above_a_private_cache_is_checked_too(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert mode(private_cache("code")) == 0o700
    (tmp_path / "esr-nas").chmod(0o777)
    with pytest.raises(PermissionError, match=r"esr-nas can be .* XDG_CACHE_HOME=/path$"):
        private_cache("code")
