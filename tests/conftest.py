"""Fixtures that several rooms share."""

import os
import shutil
import subprocess
import sys

import pytest
import torch

if (
    not torch.cuda.is_available()
):  # before anything imports Triton: its kernels are then run by its interpreter
    os.environ.setdefault("TRITON_INTERPRET", "1")

if "PYTEST_XDIST_WORKER" in os.environ:  # one process a core
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A finished search of two trials under a proxy that learns nothing; to be read, never changed."""
    folder = tmp_path_factory.mktemp("runs")
    settings = "trials=2 proxy.steps=3 ladder_seeds=1 latency.max_seconds=0.5 workers=1"
    command = [sys.executable, "-m", "nas", "search", "run=tiny", *settings.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "tiny"


@pytest.fixture
def tiny_copy(tiny_run, tmp_path):
    """A copy of the tiny run, to be changed."""
    return shutil.copytree(tiny_run, tmp_path / "tiny")
