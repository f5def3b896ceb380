import subprocess
import sys

import numpy as np
import pytest

from nas.export.bundle import export
from nas.export.ncnn.exporter import NcnnExporter
from nas.export.trial import make_trial
from nas.export.verification import CheckError, Tolerance, verify
from search_spaces import build, published
from search_spaces.spec import with_scale
from tests.nas.export.networks import CASES, RELEASED, make_bundle, make_draft, make_released

pytest.importorskip("ncnn", reason="ncnn is not installed: pip install 'esr-nas[ncnn]'")
pytest.importorskip("pnnx", reason="pnnx is not installed: pip install 'esr-nas[ncnn]'")


def check_files(bundle, folder):
    """Write a bundle and compare the files with PyTorch; return the names and what came out."""
    exporter = NcnnExporter()
    exporter.check(bundle)
    names = exporter.write(bundle, folder)
    trial = make_trial(bundle.upscaler(), bundle.spec.scale)
    tolerance = Tolerance(largest_error=exporter.tolerance, clamped=exporter.clamps)
    return names, verify(trial, "ncnn", exporter.reader(folder, names), tolerance)


@pytest.mark.parametrize("name", RELEASED)
def test_released_network_gives_what_pytorch_gives_in_a_process_of_its_own(name, tmp_path):
    names, outcome = check_files(make_released(name), tmp_path)
    # Nothing of what the converter leaves beside comes along.
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert outcome.largest_error <= 1e-3
    assert {"37x53", "64x40"} < set(outcome.sizes)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_draft_has_its_base_in_the_graph(scale, tmp_path):
    names, outcome = check_files(make_draft(with_scale(published("disp"), scale)), tmp_path)
    assert all(name.partition(".")[0].endswith(f"_x{scale}_draft") for name in names)
    assert outcome.largest_error <= 1e-5


@pytest.mark.parametrize("name", CASES)
def test_operators_give_what_pytorch_gives(name, tmp_path):
    assert check_files(make_bundle(build(CASES[name])), tmp_path)[1].lowest_db > 80


def test_blobs_are_named_as_readers_ask_for_them(tmp_path):
    param, _ = NcnnExporter().write(make_bundle(build(published("disp"))), tmp_path)
    layers = [line.split() for line in (tmp_path / param).read_text().splitlines()[2:]]
    assert layers[0][:5] == ["Input", "data", "0", "1", "data"]
    assert layers[-1][0] == "PixelShuffle"
    assert layers[-1][5] == "output"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("safmn_deep15", r"ncnn: it lacks aten.native_group_norm, an operator of blocks.1.norm1"),
        ("mambagate", r"ncnn: it lacks aten\.\w+, an operator of blocks.1.attention"),
        ("haesr", r"ncnn: it lacks aten.reflection_pad2d, an operator of the network itself"),
        ("dwmamba", r"ncnn: it lacks aten\.\w+, an operator of "),
        ("amcanet", r"ncnn: it lacks aten.linalg_vector_norm, an operator of blocks.1"),
    ],
)
def test_what_ncnn_lacks_is_refused_by_operator_and_place(name, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export(make_bundle(build(published(name))), {"ncnn": NcnnExporter()}, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


class Spoilt(NcnnExporter):
    """Writes weights of which the end is missing."""

    def write(self, bundle, folder):
        names = super().write(bundle, folder)
        weights = folder / names[1]
        weights.write_bytes(weights.read_bytes()[:1000])
        return names


def test_file_that_ends_its_reader_fails_the_export(tmp_path):
    with pytest.raises(CheckError, match="the check of ncnn failed, the reader"):
        export(make_bundle(build(published("disp"))), {"ncnn": Spoilt()}, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_reader_says_what_is_missing(tmp_path):
    np.savez(tmp_path / "in.npz", x=np.zeros((1, 3, 4, 4), np.float32))
    files = [str(tmp_path / name) for name in ("no.param", "no.bin", "in.npz", "out.npz")]
    command = [sys.executable, "-m", "nas.export.ncnn.read", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"there is no file {files[0]}\n"
