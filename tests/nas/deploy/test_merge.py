"""The merged plan, its kernels in Triton's interpreter."""

from pathlib import Path

import pytest
import torch

from nas.deploy.hostile import hostile_images
from nas.deploy.launches import launch_conv_act, value_of
from nas.deploy.plan import Plan, computing, trace
from nas.deploy.precision import earn_float16
from nas.ops import backend
from nas.ops.fuse import fuse
from search_spaces import build, published
from search_spaces.checkpoints.official import load_official
from search_spaces.initialise import initial_network
from tests.search_spaces.tiny import tiny_spec

pytest.importorskip("triton", reason="Triton is not installed")
pytestmark = pytest.mark.skipif(not backend.interpreting(), reason="TRITON_INTERPRET is not 1")

CPU = torch.device("cpu")
CHECKPOINT = (
    Path(__file__).parents[4] / "shared" / "reference" / "checkpoints" / "team22_spanv2_c2.pth"
)
SPECS = {
    "stem": tiny_spec(num_blocks=2, taps="all", channels=12),
    "inner": tiny_spec(num_blocks=2, taps="all", attention="conv1x1"),
    "bilinear": tiny_spec(skip="bilinear", attention="hard_parameter_free", activation="gelu"),
    "separable": tiny_spec(entry="block", num_blocks=2, skip="near", bias=False, head="separable"),
    "separable_bias": tiny_spec(
        entry="block", num_blocks=2, skip="near", bias=True, head="separable"
    ),
}


@pytest.fixture(autouse=True)
def triton(monkeypatch):
    monkeypatch.setattr(
        torch.backends.cudnn, "allow_tf32", False
    )  # exact: TF32 itself is test_tf32's
    with backend.using("triton"):
        yield


def plan_of(spec, dtypes=None):
    net = initial_network(spec, 0, torch.rand(1, 3, 16, 16), zero_output=False).eval()
    with torch.no_grad():  # nothing that is zero at the start may hide what is lost
        for parameter in net.parameters():
            parameter += 0.002 * torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(1)
            )
    graph = trace(fuse(net, attention="epilogue"))
    return net, graph, Plan(graph, dtypes or {}, merged_for=CPU)


def assert_same(found, wanted):
    assert (found - wanted).abs().max() <= 1e-6 * wanted.abs().max()


@pytest.mark.parametrize("name", SPECS)
def test_merged_plan_computes_what_the_network_does_borders_included(name):
    net, _, plan = plan_of(SPECS[name])
    assert all(step.fused for step in plan.steps if step.dtype)
    for shape in ((1, 3, 1, 1), (2, 3, 5, 9), (1, 3, 17, 11)):
        image = torch.rand(shape)
        with torch.no_grad():
            assert_same(plan(image), net(image))


@pytest.mark.parametrize(("name", "launches"), [("span", 22), ("spanv2", 17), ("spanf", 18)])
def test_nothing_but_kernels_is_left_of_a_published_network(name, launches):
    steps = Plan(
        trace(fuse(build(published(name)), attention="epilogue")), {}, merged_for=CPU
    ).steps
    assert [step.operator for step in steps] == ["nas.conv_act"] * launches


def test_the_near_branch_runs_right_before_the_convolution_that_reads_it():
    steps = Plan(
        trace(fuse(build(published("spanv2")), attention="epilogue")), {}, merged_for=CPU
    ).steps
    layers = [step.layer for step in steps]
    assert layers[0] == "blocks.1.conv1"
    assert layers[-2:] == ["skip", "upsampler.conv"]


def mixed(graph, float32):
    """The precisions of a plan in which the layers at these places compute in float32."""
    names = [node.name for node in computing(graph)]
    return {name: torch.float16 for place, name in enumerate(names) if place not in float32}


@pytest.mark.parametrize("float32", [{2}, {0, 3}, {1, 4, 5}, {5}, {0, 1, 2, 3, 4}])
@pytest.mark.parametrize("name", ["stem", "inner", "separable"])
def test_mixed_precisions_are_merged(name, float32):
    _, graph, _ = plan_of(SPECS[name])
    net, _, plan = plan_of(SPECS[name], mixed(graph, float32))
    image = torch.rand(1, 3, 9, 8)
    with torch.no_grad():
        found, wanted = plan(image), net(image)
    assert found.dtype == torch.float32
    assert (found - wanted).abs().max() < 5e-3 * wanted.abs().max()
    assert {step.dtype for step in plan.steps if step.dtype} == {"float16", "float32"}
    assert {step.operator for step in plan.steps} == {"nas.conv_act"}


@pytest.mark.parametrize(("name", "launches"), [("span", 22), ("spanv2", 17), ("spanf", 18)])
def test_a_mixed_plan_of_a_published_network_is_kernels_too(name, launches):
    graph = trace(fuse(build(published(name)), attention="epilogue"))
    for float32 in ({0, 7, 8, 30}, set(range(0, 40, 2))):
        steps = Plan(graph, mixed(graph, float32), merged_for=CPU).steps
        assert [step.operator for step in steps] == ["nas.conv_act"] * launches


@pytest.mark.skipif(not CHECKPOINT.exists(), reason="../shared is not here")
def test_the_released_spanv2_with_the_precisions_that_it_earns_is_17_launches():
    net = build(published("spanv2")).eval()
    load_official(net, CHECKPOINT)
    with torch.no_grad():
        graph = trace(fuse(net, attention="epilogue"))
        with backend.using("reference"):
            dtypes, faults = earn_float16(graph, hostile_images())
        plan = Plan(graph, dtypes, merged_for=CPU)
    assert 0 < len(faults) < 17
    assert len(plan.graph_module.graph.find_nodes(op="call_function", target=launch_conv_act)) == 17
    assert not plan.graph_module.graph.find_nodes(
        op="call_function", target=torch.ops.aten.to.dtype
    )
    assert len(plan.steps) == 17


def test_a_map_keeps_the_width_that_its_readers_need():
    _, graph, _ = plan_of(SPECS["stem"])
    count = len(computing(graph))

    def stored(float32):
        graph_module = plan_of(SPECS["stem"], mixed(graph, float32))[2].graph_module
        launches = graph_module.graph.find_nodes(op="call_function", target=launch_conv_act)
        return [node.kwargs.get("dtype") for node in launches if "out" not in node.kwargs]

    assert torch.float16 in stored({1})  # what it writes is only read in float16
    assert set(stored(set(range(count)))) == {None}


@pytest.mark.parametrize("name", ["separable", "separable_bias"])
def test_a_separable_tail_stays_separable(name):
    """Dense it would be 9 times the products, with the padding to powers of two 14 times."""
    graph = plan_of(SPECS[name])[2].graph_module
    (tail,) = [
        node
        for node in graph.graph.find_nodes(op="call_function", target=launch_conv_act)
        if "shuffle" in node.kwargs and "depth" in node.kwargs
    ]
    assert value_of(graph, tail.args[1]).shape[-1] == 1
    assert value_of(graph, tail.kwargs["depth"]).shape[:2] == (3, 3)


def test_what_the_kernel_cannot_serve_stays_an_operator():
    with backend.using("reference"):
        net, _, plan = plan_of(SPECS["stem"])
    assert "aten.cat" in [step.operator for step in plan.steps]
    image = torch.rand(1, 3, 9, 8)
    with torch.no_grad():
        assert_same(plan(image), net(image))


def test_a_kernel_is_asked_for_in_the_sizes_in_which_it_runs(monkeypatch):
    asked = set()

    def asking(device, channels, dtype, epilogue, in_channels, kernel):
        asked.add((channels, in_channels, kernel))
        return "triton"

    monkeypatch.setattr("nas.deploy.convolutions.backend_of", asking)
    net, _, _ = plan_of(SPECS["stem"])
    assert {tuple(conv.weight.shape[:3]) for conv in (net.stem, net.upsampler.conv)} <= asked
