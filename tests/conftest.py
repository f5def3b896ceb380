"""Fixtures that several rooms share."""

import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch

if (
    not torch.cuda.is_available()
):  # before anything imports Triton: its kernels are then run by its interpreter
    os.environ.setdefault("TRITON_INTERPRET", "1")

if "PYTEST_XDIST_WORKER" in os.environ:  # one process a core; commands that tests start inherit it
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell started the tests in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Small pictures in train/ and val/; to be read, never changed."""
    # Imported here: a GPU machine has torch, NumPy and pytest alone, and runs no search.
    from tests.nas.search.sessions import make_pictures
    from tests.once import make_once

    return make_once(tmp_path_factory, "pictures", make_pictures)


@pytest.fixture(scope="session")
def tiny_run(pictures, tmp_path_factory):
    """A finished search of two trials under a proxy that learns nothing; to be read, never changed."""
    from tests.nas.search.sessions import arguments
    from tests.once import make_once

    def make(folder):
        settings = arguments(pictures, trials=2, workers=1, **{"proxy.steps": 3})
        command = [sys.executable, "-m", "nas", "search", "run=tiny", *settings]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        assert done.returncode == 0, done.stderr

    return make_once(tmp_path_factory, "tiny_run", make) / "tiny"


@pytest.fixture
def tiny_copy(tiny_run, tmp_path):
    """A copy of the tiny run, to be changed."""
    return shutil.copytree(tiny_run, tmp_path / "tiny")
