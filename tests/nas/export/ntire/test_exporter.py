"""The folder that is handed in: its files, the block of select_model, and what is refused."""

import ast
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from nas.export.bundle import Bundle, export
from nas.export.ntire.exporter import NtireExporter
from nas.export.ntire.torch_names import find_undefined, find_unknown, read_names
from search_spaces import BlockSpec, build, published
from search_spaces.spec import ArchSpec
from tests.nas.export.ntire.networks import trained_network
from tests.nas.measure.networks import tiny


def make_bundle(spec, base=None):
    return Bundle(spec=spec, net=trained_network(spec), base=base, provenance={"runtime_ms": 1.5})


def make_exporter(**changes):
    return NtireExporter(**({"team": 5, "name": None, "warm": True, "lr": None} | changes))


def test_folder_holds_what_is_handed_in(tmp_path):
    bundle, exporter = make_bundle(published("span")), make_exporter()
    names = exporter.write(bundle, tmp_path)
    assert names == [
        "models/team05_SPAN.py", "model_zoo/team05_SPAN.pth", "select_model.txt", "factsheet.md",
    ]  # fmt: skip
    sheet = (tmp_path / "factsheet.md").read_text()
    for row in ("| Parameters [M] | 0.151 |", "| FLOPs [G] | 9.83 |", "| Runtime [ms] | 1.50 |"):
        assert row in sheet
    state = torch.load(tmp_path / names[1], weights_only=True)
    assert state.keys() == bundle.net.state_dict().keys()


def test_reader_gives_equal_outputs_in_a_fresh_process(tmp_path):
    bundle, exporter = make_bundle(tiny()), make_exporter(name="Tiny")
    names = exporter.write(bundle, tmp_path)
    image = torch.rand(1, 3, 9, 7)
    np.savez(tmp_path / "in.npz", small=image.numpy())
    paths = [str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]
    subprocess.run([*exporter.reader(tmp_path, names), *paths], check=True)
    with np.load(tmp_path / "out.npz") as made, torch.no_grad():
        assert np.array_equal(made["small"], bundle.net(image).numpy())
        assert made["latency_ms"] > 0


@pytest.mark.parametrize("warm", [True, False])
def test_block_loads_the_network_in_the_challenges_script(warm, tmp_path, monkeypatch):
    bundle, exporter = make_bundle(tiny()), make_exporter(name="Tiny", warm=warm)
    exporter.write(bundle, tmp_path)
    block = (tmp_path / "select_model.txt").read_text()
    assert ("(339, 510)" in block) == warm
    script = (
        "def select_model(model_id, device):\n    if model_id == 0:\n        pass\n"
        f"{block}    return model, name, data_range\n"
    )
    ast.parse(script, feature_version=(3, 9))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    space = {"os": os, "torch": torch}
    exec(script, space)
    model, name, data_range = space["select_model"](5, torch.device("cpu"))
    assert (name, data_range) == ("05_Tiny", 1.0)
    image = torch.rand(1, 3, 8, 8)
    assert torch.equal(model(image), bundle.net(image))
    del sys.modules["models.team05_Tiny"], sys.modules["models"]


def test_zip_holds_the_sr_images(tmp_path):
    lr = tmp_path / "LR"
    lr.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(lr / "0801x2.png")
    bundle = make_bundle(tiny())
    names = make_exporter(name="Tiny", lr=str(lr)).write(bundle, tmp_path)
    with zipfile.ZipFile(tmp_path / names[-1]) as archive:
        assert archive.namelist() == ["0801.png"]
        with archive.open("0801.png") as file:
            made = np.asarray(Image.open(file))
    with torch.no_grad():
        out = bundle.net(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)
    wanted = (255 * out[0].clamp(0, 1)).round().byte().permute(1, 2, 0)
    assert np.array_equal(made, wanted.numpy())


def test_lr_images_whose_sr_images_would_have_one_name_are_refused(tmp_path):
    for name in ("0801.png", "0801x2.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    with pytest.raises(ValueError, match=r"0801\.png and 0801x2\.png would both become 0801\.png"):
        make_exporter(lr=str(tmp_path)).check(make_bundle(tiny()))


@pytest.mark.parametrize("lr", ["missing", "empty"])
def test_lr_folder_without_images_is_refused(lr, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"lr=.*name the"):
        make_exporter(lr=str(tmp_path / lr)).check(make_bundle(tiny()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"team": 100}, "team must be"),
        ({"name": "my-net"}, "class"),
        ({"name": "torch"}, "class"),
        ({"name": "zip"}, "class"),
    ],
)
def test_wrong_names_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_exporter(**changes)


def test_proxy_weights_are_refused(tmp_path):
    with pytest.raises(ValueError, match="trained first"):
        export(
            make_bundle(published("span"), base="bicubic"),
            {"ntire": make_exporter()},
            tmp_path / "o",
        )
    assert not (tmp_path / "o").exists()


def test_network_that_draws_its_output_is_refused_by_place():
    wavelet = BlockSpec.of(
        "wavelet", channels=16, window=4, shift=0, num_heads=4, hidden=12, inner=20, d_state=3,
        num_classes=5, rank=4, noise=True,
    )  # fmt: skip
    stem = BlockSpec.of("conv", channels=16, kernel=3, bias=True)
    spec = ArchSpec(
        scale=4, normalise=False, stem=stem, blocks=(wavelet,), taps=("block1",),
        fusion=BlockSpec.of("identity"), upsampler=tiny().upsampler,
    )  # fmt: skip
    bundle = Bundle(spec=spec, net=build(spec), base=None, provenance={})
    with pytest.raises(ValueError, match=r"blocks\.1\.low\.scan.*noise: false"):
        make_exporter().check(bundle)


def test_layer_that_cannot_be_printed_is_refused_by_place_and_name(monkeypatch):
    # As if PyTorch were any other package.
    monkeypatch.setattr("nas.export.ntire.calls.IMPORTED", ("builtins", "math"))
    bundle = make_bundle(published("rfdn_span"))
    with pytest.raises(ValueError, match=r"^stem \(conv\): Conv2d is of torch.*formats=\[onnx\]"):
        make_exporter().check(bundle)


def test_name_that_pytorch_1_13_lacks_is_refused(monkeypatch):
    names = read_names() - {"torch.nn.functional.silu"}
    monkeypatch.setattr("nas.export.ntire.torch_names.read_names", lambda: names)
    with pytest.raises(ValueError, match=r"1\.13 has no torch\.nn\.functional\.silu"):
        make_exporter().check(make_bundle(published("span")))


@pytest.mark.parametrize("text", ["torch.sym_min(a, b)", "F.grouped_mm(a)", "a.no_such_method()"])
def test_names_that_pytorch_1_13_lacks_are_found(text):
    source = (
        f"import torch\nfrom torch.nn import functional as F\n\n\ndef f(a, b):\n    return {text}\n"
    )
    assert len(find_unknown(source)) == 1
    assert find_unknown(source.replace(text, "torch.relu(a).mT @ F.gelu(b).amax(1)")) == []


def test_names_that_nobody_defines_are_found():
    assert find_undefined("def f(a):\n    return [itertools.chain(b) for b in a] + [len(a)]\n") == [
        "itertools"
    ]
