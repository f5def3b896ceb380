"""Launches over a stub of libcuda: a prepared one is what Triton's own search would launch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nas.ops.prepared import MAX_KEPT, Prepared, describe_layout
from tests.nas.ops.stub import driver

ROOT = Path(__file__).parents[3]
needs_stub = pytest.mark.skipif(driver.why_not() is not None, reason=str(driver.why_not()))


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """What `checks` prints: Triton's interpreter cannot be left in this process."""
    folder = tmp_path_factory.mktemp("stub")
    driver.build(folder)
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-W", "ignore", "-m", "tests.nas.ops.stub.checks", folder]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_stub
def test_a_prepared_launch_is_that_of_tritons_search(launched):
    for name, case in launched["cases"].items():
        assert case["prepared"] == [True], name
        assert case["same"], f"{name}: grid, threads, shared memory, function or arguments differ"
        assert case["writes"], f"{name}: the result is not what is written"
        assert set(case["launches"]) == {1}, name
        assert len({tuple(strides) for strides in case["strides"]}) == 1, name


@needs_stub
def test_a_launch_reads_the_weights_that_the_module_has(launched):
    assert [name for name, holds in launched["weights"].items() if not holds] == []


@needs_stub
def test_shapes_may_alternate(launched):
    wanted = [([1, 32, height, 40], [height, 40]) for height in (20, 9, 20, 9)]
    assert [(shape, sizes) for shape, sizes in launched["shapes"]] == wanted


@needs_stub
def test_what_has_to_see_the_operator_sees_it(launched):
    assert [name for name, holds in launched["calls"].items() if not holds] == []


@needs_stub
@pytest.mark.parametrize(("name", "most"), [("span", 22), ("spanv2", 17), ("spanf", 18)])
def test_launches_of_published_networks(launched, name, most):
    found = launched["networks"][name]
    assert found["plan"][0] == found["plan"][1] <= most


@needs_stub
@pytest.mark.parametrize(("name", "copied"), [("span", 0), ("spanv2", 1), ("spanf", 1)])
def test_fused_modules_prepare_each_launch_that_copies_nothing(launched, name, copied):
    """The last convolution of two networks reads what a plain one gives here, by planes."""
    found = launched["networks"][name]
    assert found["prepared"] == found["modules"] - copied


def test_maps_of_two_gpus_share_no_launch():
    """An attention without weights has nothing else that would tell them apart."""

    class Map(torch.Tensor):
        device_index = 0

        def get_device(self):
            return self.device_index

    x, f = (torch.zeros(1, 3, 4, 5).as_subclass(Map) for _ in "xf")
    before = describe_layout(x, f, None, None)
    assert describe_layout(x, f, None, None) == before
    f.device_index = 1
    mixed = describe_layout(x, f, None, None)
    x.device_index = 1
    assert len({before, mixed, describe_layout(x, f, None, None)}) == 3


def test_launches_that_are_kept_are_few():
    prepared, made = Prepared(), []
    for key in range(MAX_KEPT + 1):
        prepared.keep(key, lambda key=key: made.append(key))
        prepared.keep(key, lambda key=key: made.append(key))
    assert made == list(range(MAX_KEPT + 1)), "each once"
    assert len(prepared) == 1


def test_a_module_compiles_and_exports_whole():
    from nas.ops.conv_act.module import ConvAct

    module = ConvAct(torch.nn.Conv2d(4, 4, 3, padding=1).requires_grad_(False), "relu")
    x = torch.rand(1, 4, 5, 6)
    with torch.no_grad():
        wanted = module(x)
        torch.testing.assert_close(
            torch.compile(module, fullgraph=True, backend="eager")(x), wanted
        )
        exported = torch.export.export(module, (x,))
    assert any("nas.conv_act" in str(node.target) for node in exported.graph.nodes)
