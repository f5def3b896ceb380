"""What a first run on a GPU has to settle beside the figures: versions, clocks, rounding, host time."""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.gpu.networks import (
    TYPICAL,
    Upscaler,
    network,
    released,
    span,
    spanv2,
    with_fused_attention,
)
from benchmarks.gpu.rows import Check, Fact, Figure, Given, Row, each
from benchmarks.gpu.timing import event_ms, host_ms, tf32, working_clock
from nas.deploy import Runner
from nas.deploy.runner import PRECISIONS
from nas.measure.device import fingerprint, output
from nas.measure.surroundings import surroundings
from nas.ops import nvcc
from nas.ops.conv_act import conv_act
from nas.ops.fuse import fuse
from nas.ops.span_attention import parameter_free_attention, span_attention

IDLE_S, RAMP_S = 2.0, 1.0
RAMP_AT_MS = (0, 5, 10, 20, 50, 100, 200, 300, 500)
TF32_STEP = 2.0**-10  # between two values of TF32 at 1


def environment(given: Given) -> Iterator[Fact]:
    """Device, driver, and the versions of all that builds or runs a kernel."""
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    yield Fact(name="fingerprint", value=fingerprint(device))
    compiler = nvcc.find_nvcc()
    said = {
        "nvcc": output([str(compiler), "--version"]) if compiler is not None else None,
        "gcc": output(["gcc", "--version"]),
    }
    yield Fact(name="compilers", value={name: _version_line(text) for name, text in said.items()})
    if given.weights is not None:
        yield Fact(name="weights", value=given.weights.name)


def _version_line(text: str | None) -> str | None:
    """Of nvcc the line with the release, of gcc the first."""
    lines = (text or "").splitlines()
    return next((line for line in lines if "release" in line), lines[0] if lines else None)


def probe(given: Given) -> Iterator[Row]:
    state = released(given.weights)
    yield from each(
        {
            "clock ramp": _clock_ramp,
            "TF32 rounding": _tf32_rounding,
            **{f"runner {word}": lambda word=word: _runner(word) for word in PRECISIONS},
            "host and device": lambda: _host_and_device(state),
        }
    )


def _clock_ramp() -> Iterator[Fact]:
    """How long an idle GPU takes to its clock: whether the warm-up of 0.3 s is enough."""
    factor = torch.randn(2048, 2048, device="cuda")
    factor @ factor
    torch.cuda.synchronize()
    time.sleep(IDLE_S)
    idle = surroundings(torch.device("cuda", 0))
    start, found = time.perf_counter(), []
    while (at := time.perf_counter() - start) < RAMP_S:
        found.append((1e3 * at, event_ms(lambda: factor @ factor)))
    last = statistics.median(ms for _, ms in found[-50:])
    slower = {at: next((ms for t, ms in found if t >= at), last) / last for at in RAMP_AT_MS}
    yield Fact(
        name="clock ramp",
        value={
            "idle": idle,
            "warm": surroundings(torch.device("cuda", 0)),
            "times slower at ms": {str(at): round(factor, 2) for at, factor in slower.items()},
        },
    )


def _tf32_rounding() -> Iterator[Check]:
    """1 and three quarters of a step of TF32, through an identity: a step more where operands are rounded."""
    x = torch.full((1, 32, 8, 64), 1 + 0.75 * TF32_STEP, device="cuda")
    x = x.contiguous(memory_format=torch.channels_last)
    weight = torch.zeros(32, 32, 3, 3, device="cuda")
    weight[:, :, 1, 1] = torch.eye(32, device="cuda")
    with torch.no_grad(), tf32(True):
        results = {
            "conv_act": conv_act(x, weight, None, "none"),
            "cuDNN": F.conv2d(x, weight, padding=1),
        }
    for name, out in results.items():
        steps = (out[0, 0, 4, 30].item() - 1) / TF32_STEP
        word = "rounded" if steps > 0.9 else "cut" if steps < 0.1 else "exact"
        yield Check(name=f"TF32 operands, {name}", words=f"{word} ({steps:.2f} of a step)")


def _runner(precision: Any) -> Iterator[Check]:
    image = torch.rand(1, 3, 31, 47, device="cuda")
    runner = Runner(network(spanv2()), precision=precision, trial={})
    out = runner(image)
    fine = tuple(out.shape) == (1, 3, 124, 188) and bool(torch.isfinite(out).all())
    words = f"layers {runner.layers}, plain parts {sorted(runner.plain_parts)}"
    yield Check(name=f"Runner, {precision}", words=words, is_wrong=not fine)


def _host_and_device(state: dict[str, Tensor] | None) -> Iterator[Row]:
    """Time to issue a forward, its time between events, and that of many in a row: who waits for whom."""
    net = network(spanv2(), state)
    calls: dict[str, Callable[[], Upscaler]] = {
        "SPAN plain": lambda: network(span()),
        "SPANV2 plain": lambda: net,
        "SPANV2 with the fused attention": lambda: with_fused_attention(net),
        "SPANV2 fuse(net)": lambda: fuse(net),
        "SPANV2 runner without graphs": lambda: Runner(net, graphs=False),
        "SPANV2 runner": lambda: Runner(net, share_output=True),
    }
    yield from each({name: lambda name=name: _host(name, calls[name]()) for name in calls})


def _host(name: str, call: Upscaler) -> Iterator[Figure]:
    image = torch.rand(1, 3, *TYPICAL, device="cuda")
    with torch.inference_mode():
        for _ in range(10):
            call(image)
        clock = working_clock()
        host = host_ms(lambda: call(image))
        between = statistics.median(event_ms(lambda: call(image)) for _ in range(20))
        in_a_row = event_ms(lambda: call(image), repeats=20)
    yield Figure(
        name=f"{name} 339x510: host time of issuing over event time",
        value=host / between,
        higher=False,
        sm_mhz=(clock, None),
        note=f"host {host:.3f} ms, events {between:.3f} ms, back to back {in_a_row:.3f} ms",
    )


def profiles(given: Given) -> Iterator[Row]:
    """The kernels of a forward by their time: of plain networks, of the one as released, of the runner."""
    net = network(spanv2(), released(given.weights))
    networks: dict[str, Callable[[], Upscaler]] = {
        "SPANV2 plain": lambda: net,
        "SPANV2 with the fused attention": lambda: with_fused_attention(net),
        "SPANV2 runner": lambda: Runner(net, graphs=False),
        "SPAN plain": lambda: network(span()),
    }
    yield from each({name: lambda name=name: _profile(name, networks[name]()) for name in networks})


def _profile(name: str, call: Upscaler) -> Iterator[Fact]:
    image = torch.rand(1, 3, *TYPICAL, device="cuda")
    with torch.inference_mode():
        for _ in range(3):
            call(image)
        working_clock()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            call(image)
            torch.cuda.synchronize()
    events = sorted(profile.key_averages(), key=lambda event: -event.self_device_time_total)
    kernels = [
        {
            "kernel": event.key[:100],
            "calls": event.count,
            "us": round(event.self_device_time_total, 1),
        }
        for event in events[:15]
    ]
    yield Fact(name=f"kernels of {name}", value=kernels)


def run_forward() -> None:
    """One forward of the runner without graphs between the profiler's marks, for ncu."""
    runner = Runner(network(spanv2()), graphs=False)
    image = torch.rand(1, 3, *TYPICAL, device="cuda")
    for _ in range(3):
        runner(image)
    torch.cuda.synchronize()
    torch.cuda.profiler.start()
    runner(image)
    torch.cuda.synchronize()
    torch.cuda.profiler.stop()


def run_small() -> None:
    """Six small shapes of every operator, without graphs, for compute-sanitizer."""
    for channels, height, width in (
        (32, 7, 13),
        (28, 5, 66),
        (48, 9, 70),
        (20, 3, 33),
        (52, 8, 64),
        (3, 1, 1),
    ):
        x, f = (torch.randn(1, channels, height, width, device="cuda") for _ in range(2))
        weight, bias = (
            torch.randn(channels, channels, 1, 1, device="cuda"),
            torch.randn(channels, device="cuda"),
        )
        taps = torch.randn(32, channels, 3, 3, device="cuda")
        for dtype in (torch.float32, torch.float16):
            operands = [value.to(dtype) for value in (x, f, weight, bias)]
            with torch.no_grad():
                span_attention(*operands)
                parameter_free_attention(*operands[:2])
                conv_act(operands[0], taps.to(dtype), None, "relu")
    torch.cuda.synchronize()
    print("ran")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    ways = parser.add_mutually_exclusive_group(required=True)
    ways.add_argument("--forward", action="store_true", help=run_forward.__doc__)
    ways.add_argument("--small", action="store_true", help=run_small.__doc__)
    (run_forward if parser.parse_args().forward else run_small)()
