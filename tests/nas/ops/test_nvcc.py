"""The cache of built CUDA sources, with a compiler that only counts."""

import os
import signal
import subprocess
import sys
import time

import pytest

from nas.ops import nvcc
from nas.ops.nvcc import BuildError, build, load
from nas.system.files.user_cache import user_cache

FAKE = """#!/bin/sh
if [ "$1" = --version ]; then echo "release {version}"; exit 0; fi
echo run >> {log}
sleep {seconds}
for last; do :; done
if grep -q broken "$last"; then echo "x.cu(1): error: broken" >&2; exit 1; fi
while [ "$1" != -o ]; do shift; done
cat "$last" > "$2"
"""


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """A fake nvcc in CUDA_HOME, an empty cache, a source, and how often it was compiled."""
    log, home = tmp_path / "log", tmp_path / "cuda"
    (home / "bin").mkdir(parents=True)
    log.touch()

    def install(version="13.0", seconds=0):
        (home / "bin/nvcc").write_text(FAKE.format(version=version, log=log, seconds=seconds))
        (home / "bin/nvcc").chmod(0o755)
        nvcc._read_version.cache_clear()

    install()
    monkeypatch.setenv("CUDA_HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = tmp_path / "source/kernel.cu"
    source.parent.mkdir()
    source.write_text("int answer;")
    yield source, install, lambda: len(log.read_text().splitlines())
    nvcc._read_version.cache_clear()


def test_a_source_is_built_once(compiler):
    source, _, count = compiler
    first = build(source, arch="sm_90", defines={"C": 16})
    assert first == build(source, arch="sm_90", defines={"C": 16})
    assert count() == 1
    assert first.read_text() == "int answer;"
    assert first.is_relative_to(user_cache("cuda"))


def test_everything_that_goes_into_a_library_names_it(compiler):
    source, install, count = compiler
    made = {
        build(source, arch="sm_90"),
        build(source, arch="sm_80"),
        build(source, arch="sm_90", defines={"C": 1}),
    }
    (source.parent / "part.cuh").write_text("int part;")
    made.add(build(source, arch="sm_90"))
    source.write_text("int other;")
    made.add(build(source, arch="sm_90"))
    install(version="13.1")
    made.add(build(source, arch="sm_90"))
    assert len(made) == count() == 6


def test_a_failure_is_one_line_and_leaves_nothing(compiler):
    source, _, _ = compiler
    source.write_text("broken")
    with pytest.raises(BuildError, match=r"^nvcc failed on kernel.cu: x.cu\(1\): error: broken$"):
        build(source, arch="sm_90")
    assert list(user_cache("cuda").glob("*.so")) == []


def test_a_library_that_cannot_be_loaded_is_named(compiler):
    with pytest.raises(BuildError, match="cannot be loaded"):
        load(compiler[0], arch="sm_90")


def test_a_missing_compiler_is_said(compiler, monkeypatch):
    monkeypatch.setattr(nvcc, "find_nvcc", lambda: None)
    with pytest.raises(BuildError, match="no nvcc in CUDA_HOME"):
        build(compiler[0], arch="sm_90")


def test_processes_that_want_the_same_library_build_it_once(compiler):
    source, install, count = compiler
    install(seconds=1)
    code = (
        f"import nas.ops.nvcc as n, pathlib; n.build(pathlib.Path({str(source)!r}), arch='sm_90')"
    )
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert count() == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.parametrize("level", ["cuda", ""])
def test_code_is_not_loaded_from_a_folder_that_others_can_write(compiler, level):
    source, _, count = compiler
    build(source, arch="sm_90")
    folder = user_cache("cuda")
    assert folder.stat().st_mode & 0o777 == folder.parent.stat().st_mode & 0o777 == 0o700
    (folder.parent / level).chmod(0o777)
    with pytest.raises(BuildError, match=r"can be written by every user .* remove it, or name"):
        load(source, arch="sm_90")
    assert count() == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such links")
def test_code_is_not_loaded_through_a_link(compiler, tmp_path):
    source, _, count = compiler
    (tmp_path / "theirs").mkdir()
    user_cache("cuda").parent.mkdir(parents=True)
    user_cache("cuda").symlink_to(tmp_path / "theirs")
    with pytest.raises(BuildError, match="is a link"):
        build(source, arch="sm_90")
    assert (count(), list((tmp_path / "theirs").iterdir())) == (0, [])


def test_what_a_killed_build_left_goes_with_the_next(compiler):
    source, install, _ = compiler
    install(seconds=60)
    code = (
        f"import nas.ops.nvcc as n, pathlib; n.build(pathlib.Path({str(source)!r}), arch='sm_90')"
    )
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    while not list(user_cache("cuda").glob("esr-nas-temporary-*")):
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    install()
    build(source, arch="sm_80")
    left = [path.suffix for path in user_cache("cuda").iterdir()]
    assert sorted(left) == [".lock", ".lock", ".so"]
