import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.measure.cost import count, measure_cost
from search_spaces import ArchSpec, build, published
from search_spaces.checkpoints.official import load_official, read_state
from tests.nas.measure.test_cost import DIFFERENT

REFERENCE = Path(__file__).parents[3] / "shared" / "reference"
CHECKPOINT = REFERENCE / "checkpoints" / "team12_DWMamba.pth"
COARSE = 8 * 128 * 128  # pixels of the coarse maps of eight blocks at 256x256

needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"the reference outputs are not there: {REFERENCE}"
)


def noisy():
    """The network as it was released: classes are drawn in evaluation."""
    text = published("dwmamba").to_json()
    return ArchSpec.from_json(text.replace('"noise":false', '"noise":true'))


@needs_reference
@pytest.mark.parametrize("letter", "abc")
def test_network_gives_the_released_output_without_its_noise(letter):
    """The reference is the released class with the most probable classes and a stable sort."""
    arrays = np.load(REFERENCE / "golden" / "team12_DWMamba.npz")
    net = build(published("dwmamba")).eval()
    load_official(net, CHECKPOINT)
    with torch.no_grad():
        out = net(torch.from_numpy(arrays[f"in_{letter}"]))
    wanted = torch.from_numpy(arrays[f"out_{letter}_nonoise_stable"])
    torch.testing.assert_close(out, wanted, rtol=0, atol=1e-5)


@needs_reference
def test_network_with_noise_is_as_far_from_itself_as_the_released_one():
    """Two seeds of the released class are 0.0007 (root mean square) apart on a crop of a
    photograph.
    """
    arrays = np.load(REFERENCE / "golden" / "team12_DWMamba.npz")
    net = build(noisy()).eval()
    load_state = build(published("dwmamba"))
    load_official(load_state, CHECKPOINT)
    net.load_state_dict(load_state.state_dict())
    outs = []
    for seed in (0, 5):
        torch.manual_seed(seed)
        with torch.no_grad():
            outs.append(net(torch.from_numpy(arrays["in_b"])))

    def apart(a, b):
        return float(np.sqrt(np.square(np.asarray(a) - np.asarray(b)).mean()))

    theirs = apart(arrays["out_b"], arrays["out_b_seed5"])
    assert 0.5 * theirs < apart(*outs) < 2 * theirs
    assert apart(outs[0], arrays["out_b"]) < 2 * theirs


@needs_reference
def test_all_keys_of_the_checkpoint_are_known():
    """Its one buffer, the index of the relative positions, is computed here."""
    state = read_state(CHECKPOINT)
    net = build(published("dwmamba"))
    load_official(net, CHECKPOINT)
    buffer = state.pop("relative_position_index_SA")
    assert torch.equal(net.blocks["2"].blocks[0].low.attention.index, buffer)
    assert sum(value.numel() for value in state.values()) == 673_640
    assert len(net.state_dict()) == len(state)


@needs_reference
def test_key_that_is_not_known_is_refused(tmp_path):
    torch.save(read_state(CHECKPOINT) | {"layers.9.gamma": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(ValueError, match=r"unexpected layers\.9\.gamma"):
        load_official(build(published("dwmamba")), tmp_path / "more.pth")


@needs_reference
def test_what_fvcore_rounds_are_the_projections():
    """It rounds what it counts for einsum, 352,321,536, to four digits: 1,536 more here.

    The counts themselves: tests/nas/measure/test_cost.py.
    """
    entry = json.loads((REFERENCE / "counts.json").read_text())["team12_DWMamba"]
    x_proj, dt_proj = COARSE * 96 * (6 + 8 + 8), COARSE * 6 * 96
    assert x_proj + dt_proj == 352_321_536
    assert entry["fvcore_by_op"]["einsum"] == 352_321_536 - 1_536
    assert DIFFERENT["dwmamba"] == (0, 1_536, 0, 0)


def test_costs_do_not_depend_on_the_device():
    net = build(published("dwmamba")).eval()
    assert count(net, torch.rand(1, 3, 40, 33)) == measure_cost(published("dwmamba"), size=(40, 33))


def test_network_without_its_padding_takes_any_size():
    """Each block pads by itself: what stands before and after it then sees other borders."""
    spec = published("dwmamba")
    torch.manual_seed(0)
    net = build(dataclasses.replace(spec, wrap=spec.wrap[1:])).eval()
    x = torch.rand(1, 3, 17, 23)
    out = net(x)
    assert out.shape == (1, 3, 68, 92)
    out.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())
    padded = build(spec).eval()
    padded.load_state_dict(net.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(padded(torch.ones(1, 3, 32, 64)), net(torch.ones(1, 3, 32, 64)))


def test_noise_is_part_of_what_the_network_computes():
    assert noisy() != published("dwmamba")
    assert noisy().arch_id != published("dwmamba").arch_id
