"""Released networks through the merged plan in TF32, with the products of tensor cores, against float64."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas.deploy.launches import join_parts, launch_conv_act, value_of
from nas.deploy.plan import Plan, trace
from nas.ops import backend
from nas.ops.fuse import fuse
from search_spaces import build, published
from search_spaces.checkpoints.official import load_official
from tests.nas.ops.tensor_cores import tensor_cores

pytest.importorskip("triton", reason="Triton is not installed")
from nas.ops.conv_act import config as tilings
from nas.ops.conv_act.config import default
from nas.ops.conv_act.rounding import round_to_tf32

pytestmark = pytest.mark.skipif(not backend.interpreting(), reason="TRITON_INTERPRET is not 1")

__all__ = ["tensor_cores"]
SHARED = Path(__file__).parents[4] / "shared"
CHECKPOINTS = SHARED / "reference" / "checkpoints"
PHOTOGRAPH = SHARED / "data" / "Set5" / "LR_bicubic" / "X4" / "set5_002x4.png"
RELEASED = {
    "span": "team00_SPAN.pth",
    "spanv2": "team22_spanv2_c2.pth",
    "spanf": "y2025_team24_spanf.pth",
}
MIN_DB = 69.0  # cut operands give 58 to 66, rounded ones 71 to 76
CROP = 64


def large_tiling(case):
    """Few programs: the interpreter's time is theirs."""
    chosen = default(case)
    form = "tile" if chosen.form == "loop" else chosen.form
    return dataclasses.replace(chosen, form=form, height=32, width=32)


def photograph():
    pixels = np.asarray(Image.open(PHOTOGRAPH).convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(pixels[:CROP, :CROP].copy()).permute(2, 0, 1)[None]


def plan_of(net):
    with backend.using("triton"):
        return Plan(trace(fuse(net, attention="epilogue")), {}, merged_for=torch.device("cpu"))


def weights_of(graph, launches):
    return [value_of(graph, node.args[1]) for node in launches]


@pytest.mark.skipif(not CHECKPOINTS.exists(), reason="../shared is not here")
@pytest.mark.parametrize("name", RELEASED)
@pytest.mark.filterwarnings("ignore:overflow encountered in exp")  # NumPy's, of a sigmoid that is 0
def test_released_networks_lose_no_more_than_rounding_to_tf32_takes(
    name, tensor_cores, monkeypatch
):
    monkeypatch.setattr(tilings, "default", large_tiling)
    net = build(published(name)).eval()
    load_official(net, CHECKPOINTS / RELEASED[name])
    net = net.fold().eval().requires_grad_(False)
    image = photograph()
    with torch.no_grad():
        found = plan_of(net)(image).double()
        exact = net.double()(image.double())
    assert -10 * math.log10((found - exact).square().mean().item()) >= MIN_DB


@pytest.mark.parametrize("name", RELEASED)
def test_every_value_is_rounded_once(name):
    graph = plan_of(build(published(name)).eval()).graph_module
    launches = graph.graph.find_nodes(op="call_function", target=launch_conv_act)
    rounding = [node.kwargs["rounding"] for node in launches]
    reads_map = [weight.shape[1] > 3 for weight in weights_of(graph, launches)]
    assert {node.kwargs["precision"] for node in launches} == {"tf32"}
    assert not any(each.weight for each in rounding)
    assert not any(each.x for each, reads in zip(rounding, reads_map, strict=True) if reads)
    for node, each in zip(launches, rounding, strict=True):
        wide = [user for user in node.users if user.target is join_parts]
        readers = [user for value in (node, *wide) for user in value.users if user.args[0] is value]
        multiplied = [
            user
            for user in readers
            if user.target is launch_conv_act and "depth" not in user.kwargs
        ]
        assert each.out == bool(multiplied)
    assert [each.out for each in rounding].count(True) >= 14
    assert all(torch.equal(value, round_to_tf32(value)) for value in weights_of(graph, launches))


def test_exact_products_take_weights_as_they_are(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    graph = plan_of(build(published("spanf")).eval()).graph_module
    launches = graph.graph.find_nodes(op="call_function", target=launch_conv_act)
    assert {node.kwargs["precision"] for node in launches} == {"tf32x3"}
    assert not any(node.kwargs["rounding"].out for node in launches)
    assert not all(
        torch.equal(value, round_to_tf32(value)) for value in weights_of(graph, launches)
    )
