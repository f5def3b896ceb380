"""Graphs with open sizes: what a network decides from its image's size must not be baked in."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from search_spaces import build, published
from search_spaces.layers.pad import pad_to_multiple

SIDES = ({2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)


class Padded(nn.Module):
    def __init__(self, mode):
        super().__init__()
        self.mode = mode

    def forward(self, x):
        return pad_to_multiple(x, 8, self.mode)


def trace(module):
    module.eval().requires_grad_(False)
    # The guards are those of reasoning on symbols, see nas/export/torch_export.py.
    return export(module, (torch.zeros(1, 3, 42, 51),), dynamic_shapes=SIDES)


@pytest.mark.parametrize("mode", ["reflect", "symmetric"])
def test_a_pad_without_decisions_is_that_with_them(mode):
    module = Padded(mode)
    graph = trace(module).module(check_guards=False)
    for size in ((37, 53), (16, 24), (9, 8), (5, 6)):
        x = torch.rand(1, 3, *size)
        assert torch.equal(graph(x), module(x))


def test_a_symmetric_pad_mirrors_as_often_as_is_needed():
    module = Padded("symmetric")
    x = torch.rand(1, 3, 2, 3)
    assert torch.equal(trace(module).module(check_guards=False)(x), module(x))


@pytest.mark.parametrize("mode", ["reflect", "symmetric"])
def test_a_pad_without_decisions_is_one_in_onnx_too(mode):
    pytest.importorskip("onnxscript")
    ort = pytest.importorskip("onnxruntime")
    from nas.deploy.onnx_model import make_model

    module = Padded(mode)
    session = ort.InferenceSession(make_model(module).SerializeToString())
    for size in ((37, 53), (16, 24), (9, 8)):
        x = torch.rand(1, 3, *size)
        assert torch.equal(torch.from_numpy(session.run(None, {"input": x.numpy()})[0]), module(x))


def cut(name, blocks):
    """A published network of fewer blocks: its graph is made in seconds."""
    spec = published(name)
    return dataclasses.replace(
        spec, blocks=spec.blocks[:blocks], taps=(f"block{blocks}",), train_form=None
    )


@pytest.mark.parametrize(("name", "sizes"), [
    ("safmn_deep15", ((37, 53), (64, 40), (17, 19))),
    ("haesr", ((37, 53), (64, 40), (19, 32))),
])  # fmt: skip
def test_one_block_holds_for_any_size(name, sizes):
    torch.manual_seed(0)
    net = build(cut(name, 1))
    graph = trace(net).module(check_guards=False)
    for size in sizes:
        x = torch.rand(1, 3, *size)
        expected = net(x)
        assert expected.shape == (1, 3, 4 * size[0], 4 * size[1])
        torch.testing.assert_close(graph(x), expected, rtol=0, atol=1e-5)
