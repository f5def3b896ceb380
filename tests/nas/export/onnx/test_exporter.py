import importlib.util
import json
import math
from pathlib import Path

import pytest
import torch

from nas.deploy.hostile import hostile_images
from nas.export.bundle import Bundle
from nas.export.onnx.exporter import OnnxExporter
from nas.train.proxy import residual_spec
from search_spaces import build, published
from search_spaces.official import load_official
from tests.search_spaces.tiny import tiny_spec

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

CHECKPOINTS = Path(__file__).parents[5] / "shared" / "reference" / "checkpoints"
FLOAT = onnx.TensorProto.FLOAT


def make_bundle(spec, base=None, **facts):
    torch.manual_seed(0)
    net = build(spec if base is None else residual_spec(spec))
    return Bundle(spec=spec, net=net, base=base, provenance={"commit": "abc", **facts})


def write(bundle, folder, **settings):
    exporter = OnnxExporter(
        **{"precision": "fp32", "clamp": False, "dynamic_batch": False} | settings
    )
    exporter.check(bundle)
    (name,) = exporter.write(bundle, folder)
    return name, onnx.load(folder / name)


def run(path, images):
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["output"], {"input": images.numpy()})[0])


def image(*size):
    return torch.rand(*size, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A file of a small network, its bundle and its model."""
    folder = tmp_path_factory.mktemp("onnx")
    bundle = make_bundle(tiny_spec(), params=12, psnr_db=30.5)
    name, model = write(bundle, folder)
    return folder / name, bundle, model


def test_the_file_gives_what_pytorch_gives_at_any_size(plain):
    path, bundle, _ = plain
    for size in ((37, 53), (64, 40), (3, 5)):
        x = image(1, 3, *size)
        torch.testing.assert_close(run(path, x), bundle.net(x).detach(), rtol=0, atol=1e-4)


def test_inputs_and_outputs_have_their_names_and_open_sides(plain):
    _, _, model = plain
    (given,), (made,) = model.graph.input, model.graph.output
    assert (given.name, made.name) == ("input", "output")
    sides = [[side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
             for value in (given, made)]  # fmt: skip
    assert sides == [[1, 3, "height", "width"], [1, 3, "output_height", "output_width"]]
    assert {value.type.tensor_type.elem_type for value in (given, made)} == {FLOAT}


def test_operators_are_standard_ones_of_opset_18(plain):
    _, _, model = plain
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]
    assert model.ir_version == 8
    assert not model.functions
    assert {node.domain for node in model.graph.node} == {""}


def test_nothing_of_this_machine_is_in_the_file(plain):
    path, _, model = plain
    for thing in (model.graph, *model.graph.node, *model.graph.initializer):
        assert not thing.metadata_props
        assert not thing.doc_string
    data = path.read_bytes()
    for trace in (b".py", b"site-packages", b"Traceback", str(Path.cwd()).encode(), b"forward"):
        assert trace not in data


def test_the_file_says_what_it_is(plain):
    _, bundle, model = plain
    notes = {entry.key: entry.value for entry in model.metadata_props}
    assert notes["scale"] == "4"
    assert notes["arch_id"] == bundle.spec.arch_id
    assert notes["commit"] == "abc"
    assert notes["draft"] == "no"
    assert "[0, 1]" in notes["range"]
    assert json.loads(notes["figures"]) == {"params": 12, "psnr_db": 30.5}


def test_a_clamped_file_of_batches(tmp_path):
    bundle = make_bundle(tiny_spec())
    name, model = write(bundle, tmp_path, clamp=True, dynamic_batch=True)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    x = image(3, 3, 9, 7) * 4 - 2  # far outside of [0, 1], so that the output is
    expected = bundle.net(x).detach()
    assert expected.min() < 0
    assert expected.max() > 1
    torch.testing.assert_close(run(tmp_path / name, x), expected.clamp(0, 1), rtol=0, atol=1e-4)


def test_a_draft_holds_its_base_as_one_resize(tmp_path):
    bundle = make_bundle(tiny_spec(), base="bicubic")
    name, model = write(bundle, tmp_path)
    assert name == f"{bundle.name}_draft.onnx"
    (resize,) = [node for node in model.graph.node if node.op_type == "Resize"]
    settings = {entry.name: onnx.helper.get_attribute_value(entry) for entry in resize.attribute}
    assert (settings["mode"], settings["cubic_coeff_a"]) == (b"cubic", -0.75)
    for size in ((37, 53), (5, 3)):
        x = image(1, 3, *size)
        expected = bundle.upscaler()(x).detach()
        torch.testing.assert_close(run(tmp_path / name, x), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "file"), [("span", "team00_SPAN.pth"), ("spanv2", "team22_spanv2_c2.pth")]
)
def test_half_floats_stay_within_40_db_on_hostile_images(name, file, tmp_path):
    if not (CHECKPOINTS / file).is_file():
        pytest.skip("the released checkpoints are not there")
    bundle = make_bundle(published(name))
    load_official(bundle.net, CHECKPOINTS / file)
    file_name, model = write(bundle, tmp_path, precision="fp16")
    assert file_name == f"{bundle.name}_fp16.onnx"

    # Casts in the graph, around the layers whose weights are half floats; none at its ends.
    assert model.graph.input[0].type.tensor_type.elem_type == FLOAT
    assert model.graph.output[0].type.tensor_type.elem_type == FLOAT
    half = [w for w in model.graph.initializer if w.data_type == onnx.TensorProto.FLOAT16]
    notes = {entry.key: entry.value for entry in model.metadata_props}
    assert len([weights for weights in half if len(weights.dims) == 4]) >= 4
    assert notes["precision"].startswith("fp16 in ")

    for pattern, x in hostile_images().items():
        expected = bundle.net(x).detach()
        error = (run(tmp_path / file_name, x) - expected) / max(1.0, expected.abs().max())
        assert -10 * math.log10(max(1e-30, error.square().mean().item())) >= 40, pattern


@pytest.mark.parametrize("name", ["mambagate", "dwmamba"])
def test_scans_are_refused_by_name_and_place(name):
    bundle = make_bundle(published(name))
    exporter = OnnxExporter(precision="fp32", clamp=False, dynamic_batch=False)
    with pytest.raises(ValueError, match=r"^blocks\.\d\.\S+: (Mamba|RoutedScan) scans the pixels"):
        exporter.check(bundle)


def test_a_missing_package_is_named_with_its_pip_line(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "onnx" else find(name, *more),
    )
    exporter = OnnxExporter(precision="fp32", clamp=False, dynamic_batch=False)
    with pytest.raises(
        ValueError, match=r"needs onnx, not installed here; pip install 'esr-nas\[onnx\]'"
    ):
        exporter.check(make_bundle(tiny_spec()))
