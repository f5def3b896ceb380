import dataclasses
import importlib.util

import pytest
import torch
from safetensors.torch import load_file

from nas.export.bundle import export
from nas.export.spandrel.exporter import SpandrelExporter
from nas.export.spandrel.lift import lift
from nas.export.trial import make_trial
from nas.export.verification import Tolerance, verify
from nas.system.missing_torchvision import import_spandrel
from search_spaces import BlockSpec, build, published
from search_spaces.checkpoints.official import load_checkpoint
from search_spaces.spec import ArchSpec, with_scale
from tests.nas.export.networks import CHECKPOINTS, RELEASED, make_bundle, make_draft, make_released

SPAN = published("span")
has_spandrel = pytest.mark.skipif(
    importlib.util.find_spec("spandrel") is None,
    reason="spandrel is not installed: pip install 'esr-nas[spandrel]'",
)


def write_file(bundle, folder):
    exporter = SpandrelExporter()
    exporter.check(bundle)
    (name,) = exporter.write(bundle, folder)
    return folder / name


def narrow(spec, channels):
    return ArchSpec.from_json(spec.to_json().replace('"channels":28', f'"channels":{channels}'))


@has_spandrel
def test_released_span_goes_in_by_load_official_and_out_with_equal_output(tmp_path):
    path = CHECKPOINTS / RELEASED["span"]
    bundle = make_released("span")
    spandrel = import_spandrel()
    loader = spandrel.ModelLoader(device="cpu")
    with pytest.raises(spandrel.UnsupportedModelError):
        loader.load_from_file(path)  # as it was released: without branches

    descriptor = loader.load_from_file(write_file(bundle, tmp_path))
    assert descriptor.architecture.id == "SPAN"
    assert (descriptor.scale, descriptor.tags) == (4, ["28nf"])
    descriptor.eval()
    image = torch.rand(1, 3, 37, 53, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(descriptor.model(image), bundle.net(image))


@has_spandrel
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_relatives_of_span_are_recognised_in_a_fresh_process(scale, tmp_path):
    spec = dataclasses.replace(with_scale(narrow(SPAN, 12), scale), normalise=scale == 3)
    bundle = make_bundle(build(spec))
    exporter = SpandrelExporter()
    command = exporter.reader(tmp_path, [write_file(bundle, tmp_path).name])
    tolerance = Tolerance(largest_error=exporter.tolerance, clamped=exporter.clamps)
    outcome = verify(make_trial(bundle.net, scale), "spandrel", command, tolerance)
    assert outcome.largest_error == 0


def test_branches_merge_to_the_kernel_to_the_last_bit_and_can_all_be_trained():
    net = build(narrow(SPAN, 12)).eval()
    state = lift(net)
    trained = build(net.spec, train=True)
    names = {"sk": "shortcut", "conv.0": "expand", "conv.1": "conv", "conv.2": "project"}
    own = {
        f"{ours}.{kind}": state[f"block_3.c2_r.{theirs}.{kind}"]
        for theirs, ours in names.items()
        for kind in ("weight", "bias")
    }
    conv = trained.blocks["3"].conv2
    conv.load_state_dict(own)
    weight, bias = conv.merged()
    assert torch.equal(weight, net.blocks["3"].conv2.weight)
    assert torch.equal(bias, net.blocks["3"].conv2.bias)

    # No branch stands where no gradient comes: two steps of a training move every number.
    image = torch.rand(2, 12, 9, 9)
    optimizer = torch.optim.SGD(conv.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        conv(image).square().sum().backward()
        optimizer.step()
    assert all(bool((parameter.grad != 0).all()) for parameter in conv.parameters())


@has_spandrel
def test_file_comes_back_by_our_own_loader(tmp_path):
    spec = dataclasses.replace(SPAN, normalise=False)
    bundle = make_bundle(build(spec))
    path = write_file(bundle, tmp_path)
    assert "no_norm" in load_file(path)
    net = build(spec)
    load_checkpoint(net, path)
    assert all(
        torch.equal(a, b) for a, b in zip(net.parameters(), bundle.net.parameters(), strict=True)
    )


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"blocks": SPAN.blocks[1:], "taps": ("stem", "block6")}, "six blocks and a convolution"),
        ({"taps": ("stem", "block7")}, "the fused features stem, block7, block1, block6.inner"),
        ({"fusion": BlockSpec.of("conv", channels=20, kernel=1, bias=True)}, "one width"),
        ({"skip": BlockSpec.of("bilinear")}, "no skip branch"),
        ({"upsampler": BlockSpec.of("pixel_shuffle", kernel=1, bias=True)}, "a 3x3 convolution"),
        ({"stem": BlockSpec.of("conv", channels=28, kernel=5, bias=True)}, "a 3x3 convolution"),
    ],
)
def test_rule_that_fails_is_said(changes, rule, tmp_path):
    bundle = make_bundle(build(dataclasses.replace(SPAN, **changes)))
    with pytest.raises(
        ValueError, match=rf"spandrel knows SPANs alone, and they have {rule}.*onnx"
    ):
        export(bundle, {"spandrel": SpandrelExporter()}, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["spanv2", "spanf", "rfdn_span", "haesr", "dscf", "safmn_deep15"])
def test_other_networks_are_refused(name):
    with pytest.raises(ValueError, match="spandrel knows SPANs alone, and they have "):
        SpandrelExporter().check(make_bundle(build(published(name))))


@pytest.mark.parametrize(
    ("argument", "value", "rule"),
    [
        ("activation", "relu", "silu activations"),
        ("attention", "none", "parameter_free attention"),
        ("bias", False, "biases in every block"),
    ],
)
def test_blocks_of_another_kind_are_refused(argument, value, rule):
    block = BlockSpec.of("spab", **{**dict(SPAN.blocks[2].args), argument: value})
    blocks = (*SPAN.blocks[:2], block, *SPAN.blocks[3:])
    with pytest.raises(ValueError, match=rule):
        SpandrelExporter().check(make_bundle(build(dataclasses.replace(SPAN, blocks=blocks))))


def test_draft_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has to be trained first"):
        export(make_draft(SPAN), {"spandrel": SpandrelExporter()}, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
