import dataclasses

import pytest
import torch

from nas.deploy.plan import Plan, computing, outputs, trace
from nas.ops.fuse import fuse
from search_spaces import BlockSpec, build, published
from search_spaces.initialise import initial_network
from tests.search_spaces.tiny import tiny_spec

SPECS = {
    "span": published("span"),
    "spanv2": published("spanv2"),
    "inner": tiny_spec(num_blocks=2, taps="all", attention="conv1x1"),
    "narrow": tiny_spec(num_blocks=3, block_channels=0.5, attention="diagonal"),
    "bilinear": tiny_spec(skip="bilinear", attention="hard_parameter_free", activation="gelu"),
    "separable": tiny_spec(entry="block", num_blocks=2, skip="near", bias=False, head="separable"),
    "regions": tiny_spec(num_blocks=2, attention="variance"),
    "windows": dataclasses.replace(  # one at the size of the trace, two at the largest below
        tiny_spec(),
        blocks=(
            BlockSpec.of("acb", channels=8, expansion=2, window=24),
            BlockSpec.of("scab", channels=8, expansion=2, window=24),
        ),
        taps=("block2",),
    ),
}


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("fused", [True, False])
def test_plan_computes_what_the_network_does_at_every_size(name, fused):
    net = initial_network(SPECS[name], 0, torch.rand(1, 3, 16, 16), zero_output=False).eval()
    graph = trace(fuse(net, attention="epilogue") if fused else net)
    plan = Plan(graph, {})
    for shape in ((1, 3, 1, 1), (2, 3, 5, 9), (1, 3, 31, 17)):
        image = torch.rand(shape)
        with torch.no_grad():
            torch.testing.assert_close(plan(image), net(image), rtol=1e-5, atol=1e-5)


def test_each_operator_computes_in_its_own_precision():
    net = build(SPECS["span"]).eval()
    graph = trace(fuse(net, attention="epilogue"))
    nodes = computing(graph)
    halves = {node.name: torch.float16 for node in nodes[3:6]}
    plan = Plan(graph, halves)
    found = outputs(plan.graph_module, torch.rand(1, 3, 8, 8))
    wanted = [torch.float16 if 3 <= i < 6 else torch.float32 for i in range(len(nodes))]
    assert [found[node.name].dtype for node in nodes] == wanted
    assert [step.dtype for step in plan.steps if step.dtype] == [
        str(d).removeprefix("torch.") for d in wanted
    ]
    assert plan(torch.rand(1, 3, 8, 8)).dtype == torch.float32
    assert all(value.dtype == torch.float32 for value in net.state_dict().values())


def test_a_layer_keeps_its_name():
    steps = Plan(trace(build(SPECS["spanv2"])), {}).steps
    assert [step.layer for step in steps if step.operator == "aten.conv2d"][:3] == [
        "skip",
        "blocks.1.conv1",
        "blocks.1.conv2",
    ]
    assert not any(step.fused for step in steps)


@pytest.mark.parametrize(("name", "most"), [("spanv2", 20), ("span", 26)])
def test_fused_plan_has_few_launches(name, most):
    """Unfused these are 47 and 84 kernels, GPU.md counts 16 to 20 for a SPAN-style network."""
    steps = Plan(trace(fuse(build(published(name)), attention="epilogue")), {}).steps
    assert len(steps) <= most


def test_a_network_that_looks_at_values_cannot_be_traced():
    class Deciding(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, image):
            return image if image.sum() > 0 else self.weight * image

    with pytest.raises(ValueError, match=r"^the network cannot be traced: "):
        trace(Deciding())
