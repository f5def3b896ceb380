"""Where files that are kept lie."""

from pathlib import Path

import pytest

from nas.system.files.user_cache import user_cache


def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache("images") == tmp_path / "esr-nas" / "images"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for not_taken in ("", "relative/folder"):
        monkeypatch.setenv("XDG_CACHE_HOME", not_taken)
        assert user_cache("images") == tmp_path / "home" / ".cache" / "esr-nas" / "images"


def test_a_user_without_a_home_is_told_the_way_out(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(ValueError, match=r"no home directory; .* XDG_CACHE_HOME=/path"):
        user_cache("images")
