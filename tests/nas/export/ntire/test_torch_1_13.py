"""Printed files under PyTorch 1.13.1, where a Python that has it is named."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.export.ntire.torch_names import LIST
from search_spaces import published
from search_spaces.published import names
from tests.nas.export.ntire.test_source import export_networks

PYTHON = os.environ.get("TORCH_1_13_PYTHON", "")
SCRIPT = Path(__file__).parents[4] / "benchmarks" / "torch_1_13.py"
LARGEST_ERROR = 1e-4  # in full scale: another version rounds otherwise
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON, reason=f"TORCH_1_13_PYTHON names no Python with torch 1.13.1; see {SCRIPT.name}"
    ),
]


def test_list_of_names_is_that_of_pytorch_1_13():
    subprocess.run([PYTHON, SCRIPT, "verify", LIST], check=True)


@pytest.mark.parametrize("name", names())
def test_published_network_runs(name, tmp_path):
    nets = export_networks({name.upper(): published(name)}, tmp_path)
    [(stem, net)] = nets.items()
    image = torch.rand(1, 3, 33, 21)
    np.savez(tmp_path / "in.npz", image=image.numpy())
    files = [f"models/{stem}.py", f"model_zoo/{stem}.pth", "in.npz", "out.npz"]
    command = [PYTHON, SCRIPT, "run", *files]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=300)
    with np.load(tmp_path / "out.npz") as made, torch.no_grad():
        assert np.abs(made["image"] - net(image).numpy()).max() < LARGEST_ERROR
