"""What does a call cost the host of a GPU? Measured without one, over a stub of libcuda.

    python benchmarks/kernels/host_time.py [--repeats 400]

Triton's own launcher runs; the driver itself, some 2 us a launch, is not in it. A call is timed in
short blocks, and the fastest block counts: on a busy machine others measure their neighbours. A
line holds microseconds of a module that repeats its prepared launch, and through the operator; then
the launches of whole networks are counted.
"""

import functools
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

os.environ.pop("TRITON_INTERPRET", None)
import torch
from torch import nn

from benchmarks.shared.arguments import make_parser
from nas.ops.prepared import Prepared
from tests.nas.ops.stub import driver

BLOCK = 50  # calls


class Unprepared(Prepared):
    """No launch is prepared: every call goes through the operator."""

    def keep(self, key, prepare):
        """Keep nothing."""


def time_call(call, repeats):
    """Return microseconds of a call in the fastest of some blocks."""
    # The fastest block is the one that nobody disturbed.
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(BLOCK):
            call()
        best = min(best, time.perf_counter() - start)
    return 1e6 * best / BLOCK


def make_modules(dtype):
    """Yield name, module, and the maps that it is called on: (1, 32, 20, 40), channels_last."""
    from nas.ops.conv_act.module import ConvAct
    from nas.ops.span_attention.module import FusedLearnedPointwise, FusedParameterFree

    def make_conv(epilogue):
        return ConvAct(nn.Conv2d(32, 32, 3, padding=1).to(dtype), epilogue)

    x, skip = (
        torch.rand(1, 32, 20, 40).to(dtype).contiguous(memory_format=torch.channels_last)
        for _ in "xs"
    )
    gate = nn.Conv2d(32, 32, 1).to(dtype)
    yield "an empty module", nn.Identity(), (x,)
    yield "conv_act, relu", make_conv("relu"), (x,)
    yield "conv_act, attention", make_conv("parameter_free"), (x, skip)
    yield "conv_act, gate", make_conv("conv1x1"), (x, skip, gate)
    yield "span_attention", FusedLearnedPointwise(32).to(dtype), (x, skip)
    yield "parameter_free_attention", FusedParameterFree(32), (x, skip)


def make_networks():
    """Yield name and call of published networks: fused modules, and the runner's plan."""
    from nas.deploy.plan import Plan, trace
    from nas.ops.fuse import fuse
    from search_spaces import build, published

    for name in ("span", "spanv2", "spanf"):
        net = build(published(name)).eval().requires_grad_(False)
        yield f"{name}, fused modules", fuse(net)
        graph = trace(fuse(net, attention="epilogue"))
        yield f"{name}, plan", Plan(graph, {}, merged_for=torch.device("cpu"))


def main():
    parser = make_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=400, help="blocks of a call")
    repeats = parser.parse_args().repeats
    reason = driver.why_not()
    if reason is not None:
        sys.exit(f"host_time: {reason}")

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        driver.build(folder)
        stub = driver.install(folder)
        for dtype in (torch.float16, torch.float32):
            for name, module, maps in make_modules(dtype):
                call = functools.partial(module, *maps)
                prepared_us = time_call(call, repeats)
                # Now without a prepared launch: what PyTorch's dispatcher costs.
                module._launches = Unprepared()
                operator_us = time_call(call, repeats)
                times = f"{prepared_us:5.1f} us, by the operator {operator_us:5.1f} us"
                print(f"{name:26s} {dtype!s:14s} {times}")

        # The first call prepares what the second one launches.
        image = torch.rand(1, 3, 20, 24)
        for name, run in make_networks():
            run(image)
            before = stub.count()
            run(image)
            print(f"{name:26s} {stub.count() - before} launches")


if __name__ == "__main__":
    main()
