"""Host time of a call on a GPU's machine, without a GPU: Triton's own launcher over a stub of libcuda.

    python benchmarks/kernels/host_time.py [--repeats 400]

The driver itself, some 2 us a launch, is not in it. A call is timed in short blocks, and the fastest
block counts: on a busy machine others measure their neighbours.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

os.environ.pop("TRITON_INTERPRET", None)
import torch
from torch import nn

from nas.ops.prepared import Prepared
from tests.nas.ops.stub import driver

BLOCK = 50  # calls


def host_us(call, repeats):
    """Microseconds of a call in the fastest of some blocks."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(BLOCK):
            call()
        best = min(best, time.perf_counter() - start)
    return 1e6 * best / BLOCK


def modules(dtype):
    """Modules by name, with the maps that they are called on: (1, 32, 20, 40), channels_last."""
    from nas.ops.conv_act.module import ConvAct
    from nas.ops.span_attention.module import FusedLearnedPointwise, FusedParameterFree

    def conv(epilogue):
        return ConvAct(nn.Conv2d(32, 32, 3, padding=1).to(dtype), epilogue)

    x, skip = (
        torch.rand(1, 32, 20, 40).to(dtype).contiguous(memory_format=torch.channels_last)
        for _ in "xs"
    )
    gate = nn.Conv2d(32, 32, 1).to(dtype)
    yield "an empty module", nn.Identity(), (x,)
    yield "conv_act, relu", conv("relu"), (x,)
    yield "conv_act, attention", conv("parameter_free"), (x, skip)
    yield "conv_act, gate", conv("conv1x1"), (x, skip, gate)
    yield "span_attention", FusedLearnedPointwise(32).to(dtype), (x, skip)
    yield "parameter_free_attention", FusedParameterFree(32), (x, skip)


def networks():
    """Published networks by name: fused modules, and the runner's plan."""
    from nas.deploy.plan import Plan, trace
    from nas.ops.fuse import fuse
    from search_spaces import build, published

    for name in ("span", "spanv2", "spanf"):
        net = build(published(name)).eval().requires_grad_(False)
        yield f"{name}, fused modules", fuse(net)
        yield (
            f"{name}, plan",
            Plan(trace(fuse(net, attention="epilogue")), {}, merged_for=torch.device("cpu")),
        )


def main():
    """Print a line a call: microseconds prepared, and through the operator."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=400)
    repeats = parser.parse_args().repeats
    if (why := driver.why_not()) is not None:
        sys.exit(f"host_time: {why}")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        driver.build(folder)
        stub = driver.install(folder)
        for dtype in (torch.float16, torch.float32):
            for name, module, maps in modules(dtype):
                prepared = host_us(lambda module=module, maps=maps: module(*maps), repeats)
                module._launches = Never()
                whole = host_us(lambda module=module, maps=maps: module(*maps), repeats)
                print(
                    f"{name:26s} {dtype!s:14s} {prepared:5.1f} us, by the operator {whole:5.1f} us"
                )
        image = torch.rand(1, 3, 20, 24)
        for name, run in networks():
            run(image)
            before = stub.count()
            run(image)
            print(f"{name:26s} {stub.count() - before} launches")


class Never(Prepared):
    """No launch is prepared."""

    def keep(self, key, prepare):
        pass


if __name__ == "__main__":
    main()
