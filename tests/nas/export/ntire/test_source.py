"""A printed file computes what the network computes, to the last bit, in a fresh process."""

import ast
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.export.bundle import Bundle
from nas.export.ntire.exporter import NtireExporter
from search_spaces import published
from search_spaces.chooser import RandomChooser
from search_spaces.published import names
from tests.nas.export.ntire import loader
from tests.nas.export.ntire.networks import trained_network, wild_spec
from tests.search_spaces.spaces import SPACES, make_space

SIZES = ((16, 24), (33, 21))
MEMBERS, FEW_MEMBERS = 10, 2  # of each space
WILD, FEW_WILD = 60, 6


def export_networks(specs, folder):
    """Write each network into one folder; return them by their files' stems."""
    nets = {}
    for i, (name, spec) in enumerate(specs.items()):
        net = trained_network(spec, seed=i)
        bundle = Bundle(spec=spec, net=net, base=None, provenance={})
        exporter = NtireExporter(team=i, name=name, warm=False, lr=None)
        exporter.check(bundle)
        exporter.write(bundle, folder)
        nets[f"team{i:02}_{name}"] = net
    return nets


def compare(nets, folder):
    """Run the files in a fresh process, and hold their outputs against the networks'."""
    generator = torch.Generator().manual_seed(0)
    images = {f"{h}x{w}": torch.rand(1, 3, h, w, generator=generator) for h, w in SIZES}
    inputs, outputs = folder / "inputs.npz", folder / "outputs.npz"
    np.savez(inputs, **{size: image.numpy() for size, image in images.items()})
    command = [sys.executable, loader.__file__, str(folder), str(inputs), str(outputs)]
    subprocess.run(command, check=True, cwd=folder, timeout=600)

    with np.load(outputs) as made, torch.no_grad():
        assert len(made.files) == len(nets) * len(SIZES)
        for stem, net in nets.items():
            for size, image in images.items():
                equal = np.array_equal(made[f"{stem}/{size}"], net(image).numpy())
                assert equal, f"{stem} at {size}"


def check_texts(folder):
    """Check Python 3.9, imports, what a person would not write, and ruff's layout."""
    files = sorted((folder / "models").glob("*.py"))
    for file in files:
        text = file.read_text()
        ast.parse(text, feature_version=(3, 9))
        imports = set(re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE))
        assert imports <= {"torch", "math"}
        for word in (
            "cuda",
            "_mark_",
            "search_spaces",
            "make_conv",
            "strict=",
            "pairwise",
        ):
            assert word not in text, f"{word} in {file.name}"
        assert max(map(len, text.splitlines())) <= 100
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    if ruff is not None:
        options = ["--isolated", "--line-length", "100", "--target-version", "py39"]
        command = [ruff, "format", "--check", "--diff", *options, *map(str, files)]
        subprocess.run(command, check=True)
        command = [ruff, "check", "--select", "E,F,W,B,C4", "--isolated", *options[1:]]
        subprocess.run([*command, *map(str, files)], check=True)


@pytest.fixture(autouse=True)
def _one_thread():
    """Sums over an image round by the number of threads, which the fresh process sets to one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_published_networks_leave_bit_equal(tmp_path):
    nets = export_networks({name.upper(): published(name) for name in names()}, tmp_path)
    compare(nets, tmp_path)
    check_texts(tmp_path)


def check_members(space, count, folder):
    made = make_space(space)
    specs = {
        f"Member{seed}": made.sample(RandomChooser(random.Random(seed))) for seed in range(count)
    }
    compare(export_networks(specs, folder), folder)
    check_texts(folder)


@pytest.mark.parametrize("space", SPACES)
def test_members_of_every_space_leave_bit_equal(space, tmp_path):
    check_members(space, FEW_MEMBERS, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES)
def test_ten_members_of_every_space_leave_bit_equal(space, tmp_path):
    check_members(space, MEMBERS, tmp_path)


@pytest.mark.parametrize("count", [FEW_WILD, pytest.param(WILD, marks=pytest.mark.slow)])
def test_any_mixture_of_layers_leaves_bit_equal(count, tmp_path):
    specs = {f"Wild{seed}": wild_spec(seed) for seed in range(count)}
    compare(export_networks(specs, tmp_path), tmp_path)
    check_texts(tmp_path)


def test_span_reads_as_a_person_writes_it(tmp_path):
    export_networks({"SPAN": published("span")}, tmp_path)
    text = (tmp_path / "models" / "team00_SPAN.py").read_text()
    for line in (
        "class SPAB(nn.Module):",
        "    def __init__(self, channels):",
        "        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)",
        "class SPAN(nn.Module):",
        "    def __init__(self, channels=28, scale=4):",
        "        self.blocks = nn.ModuleDict({str(i): SPAB(channels) for i in range(1, 7)})",
        "        self.fusion = nn.Conv2d(4 * channels, channels, 1)",
        "        for i in range(2, 6):",
        "            x = self.blocks[str(i)](x)",
    ):
        assert f"\n{line}\n" in text
    # The mean is no weight: the file has it, and the state dict not.
    assert "torch.tensor([0.4488, 0.4371, 0.4040])" in text
    assert len(text.splitlines()) < 80


def test_names_that_clash_are_made_to_differ(tmp_path):
    nets = export_networks({"SPAB": published("span")}, tmp_path)
    text = (tmp_path / "models" / "team00_SPAB.py").read_text()
    assert re.findall(r"^class (\w+)", text, re.MULTILINE) == ["SPAB2", "PixelShuffle", "SPAB"]
    compare(nets, tmp_path)
