import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas.measure.cost import count, measure_cost, summed_cost, training_params
from search_spaces import ArchSpec, build, published
from search_spaces.checkpoints.official import load_official
from search_spaces.layers.attention.mamba_gate import MambaGate

REFERENCE = Path(__file__).parents[4] / "shared" / "reference"
PIXELS = 256 * 256

needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"the reference outputs are not there: {REFERENCE}"
)


@pytest.mark.parametrize("channels", [2, 7, 16, 48, 65])
def test_gate_starts_as_the_residual_and_learns_with_any_width(channels):
    torch.manual_seed(0)
    gate = MambaGate(channels)
    x, f = torch.randn(2, 2, channels, 5, 6).unbind()
    assert torch.equal(gate(x, f), x + f)
    gate(x, f).square().mean().backward()
    assert gate.out_proj.weight.grad.abs().max() > 0
    nn.init.normal_(gate.out_proj.weight)
    out = gate(x, f)
    out.square().mean().backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().max() > 0 for p in gate.parameters())
    assert not torch.equal(out, x + f)
    assert ((out / (x + f) - 1).abs() <= 0.5 + 1e-4).all()


def test_pixels_are_read_row_by_row():
    torch.manual_seed(0)
    gate = MambaGate(4)
    nn.init.normal_(gate.out_proj.weight)
    f = torch.randn(1, 4, 6, 5)
    other = f.clone()
    other[:, :, 3, 2] += 1
    with torch.no_grad():
        changed = ((gate(f, f) - gate(f, other)).abs().amax(1) > 1e-7).flatten()
    assert not changed[: 3 * 5 + 2].any()
    assert changed[3 * 5 + 2 :].all()


def released_state(directory):
    """The stored state of the released class, without the branches beside each convolution: a file
    of it.
    """
    arrays = np.load(REFERENCE / "golden" / "team05_MambaGate_state.npz")
    branches = [key for key in arrays.files if ".sk." in key or ".conv." in key]
    run = {key: torch.from_numpy(arrays[key]) for key in arrays.files if key not in branches}
    torch.save(run, directory / "run.pth")
    return directory / "run.pth", {key: arrays[key].size for key in arrays.files}, branches


@needs_reference
@pytest.mark.parametrize("letter", "abc")
def test_network_gives_the_released_output(letter, tmp_path):
    arrays = np.load(REFERENCE / "golden" / "team05_MambaGate.npz")
    net = build(published("mambagate"))
    load_official(net, released_state(tmp_path)[0])
    with torch.no_grad():
        out = net(torch.from_numpy(arrays[f"in_{letter}"]))
    torch.testing.assert_close(out, torch.from_numpy(arrays[f"out_{letter}"]), rtol=0, atol=1e-5)


@needs_reference
def test_network_gives_the_released_output_with_gradients_too(tmp_path):
    arrays = np.load(REFERENCE / "golden" / "team05_MambaGate.npz")
    net = build(published("mambagate"))
    load_official(net, released_state(tmp_path)[0])
    out = net(torch.from_numpy(arrays["in_c"]))
    assert out.requires_grad
    torch.testing.assert_close(out.detach(), torch.from_numpy(arrays["out_c"]), rtol=0, atol=1e-5)


@needs_reference
def test_parameters_are_those_of_the_released_class_without_its_branches(tmp_path):
    """Published: 1,106,028, the merged convolution and all of its branches together."""
    _, sizes, branches = released_state(tmp_path)
    assert sum(sizes.values()) == 1_106_028
    assert (
        json.loads((REFERENCE / "counts.json").read_text())["team05_MambaGate"]["num_parameters"]
        == 1_106_028
    )
    assert sum(sizes[key] for key in branches) == 532_860
    assert 1_106_028 - 532_860 == 573_168
    merged = sum(size for key, size in sizes.items() if ".eval_conv." in key)
    assert training_params(published("mambagate")) == 1_106_028 - merged


def test_costs_are_the_published_ones_and_what_these_omit():
    spec = published("mambagate")
    cost = measure_cost(spec)
    assert cost.params == 573_168
    maps = 6 * PIXELS  # of six gates; 48 channels, 96 in the scan
    convolutions, in_proj, layer_norm = 29_679_943_680, maps * 48 * 192, maps * 48 * 5
    assert (in_proj, layer_norm) == (3_623_878_656, 94_371_840)
    assert convolutions + in_proj + layer_norm == 33_398_194_176  # published
    conv1d, dt_proj = maps * 96 * 4, maps * 3 * 96
    x_proj, out_proj = maps * 96 * 35, maps * 96 * 48
    assert (conv1d, x_proj + out_proj, dt_proj) == (150_994_944, 3_133_145_088, 113_246_208)
    assert cost.flops == 33_398_194_176 + conv1d + x_proj + out_proj + dt_proj == 36_795_580_416
    # Of the 2d convolutions alone 34 and 106,954,752, as counts.json has them; each gate has a
    # conv1d too.
    assert cost.num_conv == 34 + 6
    assert cost.activations == 106_954_752 + maps * 96
    summed = summed_cost(spec)
    assert {name: getattr(cost, name) for name in summed} == summed


def test_operators_count_what_the_published_number_holds_of_them():
    """At 32x32 pixels, by operator: which of PyTorch's own counter's there are."""
    with torch.device("meta"):
        net = build(published("mambagate")).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.empty(1, 3, 32, 32, device="meta"))
    found = {str(op): flops // 2 for op, flops in counter.get_flop_counts()["Global"].items()}
    share = 64  # of the pixels of 256x256
    assert found.pop("aten.convolution") == (29_679_943_680 + 150_994_944) // share
    assert sum(found.values()) == (3_623_878_656 + 3_133_145_088 + 113_246_208) // share
    assert all("mm" in name for name in found)


def test_costs_do_not_depend_on_the_device():
    net = build(published("mambagate")).eval()
    found = count(net, torch.rand(1, 3, 24, 20))
    assert found == measure_cost(published("mambagate"), size=(24, 20))


def test_training_form_folds_to_the_same_function():
    torch.manual_seed(0)
    net = build(published("mambagate"), train=True)
    for block in list(net.blocks.values())[:6]:
        nn.init.normal_(block.attention.out_proj.weight, std=0.2)
    x = torch.rand(1, 3, 17, 23)
    out = net(x)
    assert out.shape == (1, 3, 68, 92)
    out.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    with torch.no_grad():
        torch.testing.assert_close(net.fold()(x), out.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [8, 20])
def test_other_widths_survive_json(channels):
    spec = published("mambagate")
    data = spec.to_dict()
    for part in (data["stem"], data["fusion"], *data["blocks"]):
        part["channels"] = channels
    narrow = ArchSpec.from_json(json.dumps(data))
    assert ArchSpec.from_json(narrow.to_json()) == narrow != spec
    with torch.no_grad():
        assert build(narrow)(torch.rand(1, 3, 7, 5)).isfinite().all()
    assert dataclasses.replace(narrow, train_form=None).arch_id == narrow.arch_id
