"""Time on a CUDA GPU: at its working clock, on inputs not in its cache, two things in turn."""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nas.measure.latency.canary import warm_up
from nas.measure.latency.protocol import Limits, read
from nas.measure.latency.rounds import Block, Reading
from nas.measure.latency.stopwatch import Forward, Upscaler, time_on_cuda
from nas.measure.surroundings import surroundings

SETS_OVER_L2 = 4  # inputs and outputs of all calls together, over the size of the L2 cache
WARM_UPS, REPLAYS = 3, 21
MIN_CALLS, MAX_CALLS = 4, 64
SIDE = 4096  # of the matrices that keep the GPU at work while its clock is asked for
Clocks = tuple[float | None, float | None]  # of the SM, in MHz, before and after
Call = Callable[[], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two kinds of calls timed in turn: milliseconds a call, and first / second with its spread."""

    first_ms: float
    second_ms: float
    ratio: float
    low: float
    high: float
    sm_mhz: Clocks


def reach_working_clock() -> float | None:
    """Multiply matrices until the GPU runs at its working clock, and return that clock in MHz."""
    warm_up(torch.device("cuda", 0))
    factor = torch.full((SIDE, SIDE), 1 / SIDE, device="cuda")

    # The clock is asked for while work is queued: an idle GPU goes back to its idle clock.
    for _ in range(50):  # some 0.1 s of work, while nvidia-smi answers
        factor @ factor
    clock_mhz = read_sm_mhz()
    torch.cuda.synchronize()
    return clock_mhz


def read_sm_mhz() -> float | None:
    """Return the clock of the multiprocessors now, in MHz; None where the driver does not say."""
    clock_mhz = surroundings(torch.device("cuda", 0))["sm_mhz"]
    return clock_mhz if isinstance(clock_mhz, float) else None


def count_sets(num_bytes: int) -> int:
    """Return how many sets of operands make a call cold.

    Each set has then left the cache before its turn comes again.

    Args:
        num_bytes: of one set, operands and result.
    """
    l2 = torch.cuda.get_device_properties(0).L2_cache_size
    return min(MAX_CALLS, max(MIN_CALLS, math.ceil(SETS_OVER_L2 * l2 / max(1, num_bytes))))


def time_as_graph(calls: Sequence[Call]) -> float:
    """Return milliseconds a call: all calls in one CUDA graph, the median of some replays."""
    graph = capture_graph(calls)
    reach_working_clock()
    times = [time_by_events(graph.replay) / len(calls) for _ in range(WARM_UPS + REPLAYS)]
    return statistics.median(times[WARM_UPS:])


def capture_graph(calls: Sequence[Call]) -> torch.cuda.CUDAGraph:
    """Return a CUDA graph of all calls; each writes memory of its own."""
    # Warm up on another stream, as capturing demands: kernels are built, memory is there.
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for call in (*calls, *calls):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()

    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        held = [call() for call in calls]  # until the end, or calls would share memory
    del held
    return graph


def time_by_events(call: Call, *, repeats: int = 1) -> float:
    """Return milliseconds a call, of some calls in a row between two events."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(repeats):
        call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / repeats


def time_host(call: Call, *, repeats: int = 20) -> float:
    """Return milliseconds in which the host issues a call, without waiting for what it starts."""
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(repeats):
        call()
    spent = time.perf_counter() - begin
    torch.cuda.synchronize()
    return 1e3 * spent / repeats


def time_pair(first: Sequence[Call], second: Sequence[Call], *, rounds: int = 9) -> Pair:
    """Time two kinds of calls in turn, as graphs."""
    graphs = capture_graph(first), capture_graph(second)
    counts = len(first), len(second)
    before = reach_working_clock()

    # In turn, so that a clock that falls on the way changes both; the first round warms up.
    times: list[tuple[float, ...]] = []
    for _ in range(rounds + 1):
        round_ms = []
        for graph, count in zip(graphs, counts, strict=True):
            graph.replay()
            round_ms.append(time_by_events(graph.replay, repeats=3) / count)
        times.append(tuple(round_ms))
    return _summarise_pair(times[1:], (before, read_sm_mhz()))


def time_eager_pair(first: Call, second: Call, *, rounds: int = 15) -> Pair:
    """Time two calls in turn as they are, each between events of its own: launches count."""
    for _ in range(WARM_UPS):
        first(), second()
    before = reach_working_clock()
    times = [(time_by_events(first), time_by_events(second)) for _ in range(rounds + WARM_UPS)]
    return _summarise_pair(times[WARM_UPS:], (before, read_sm_mhz()))


def _summarise_pair(times: Sequence[tuple[float, ...]], clocks: Clocks) -> Pair:
    """Return medians of (first, second) milliseconds, and of their ratio round by round."""
    ratios = [first / second for first, second in times]
    low, high = np.percentile(ratios, [10, 90])
    return Pair(
        first_ms=statistics.median(first for first, _ in times),
        second_ms=statistics.median(second for _, second in times),
        ratio=statistics.median(ratios),
        low=float(low),
        high=float(high),
        sm_mhz=clocks,
    )


def time_networks(
    baseline: Upscaler,
    candidate: Upscaler,
    images: Sequence[tuple[Tensor, float]],
    *,
    max_seconds: float = 2.0,
) -> tuple[Reading, Clocks]:
    """Time a network against a baseline as the latency protocol does, interleaved.

    Args:
        images: (1, 3, H, W) each, with their weights, which sum to 1.

    Returns:
        The reading, and the clock before and after it.

    Raises:
        RuntimeError: one of them failed.
    """
    forwards = [
        [Forward(network=network, image=image, spec=None) for image, _ in images]
        for network in (baseline, candidate)
    ]

    def timer(subject: int, place: int, repeats: int) -> Block:
        return time_on_cuda(forwards[subject][place], repeats)

    limits = Limits(
        warmup_seconds=0.3, min_rounds=9, max_rounds=40, max_seconds=max_seconds, target_ci=0.005
    )
    weights = [weight for _, weight in images]
    with torch.inference_mode():
        # Kernels are built and graphs captured before anything is timed.
        for row in forwards:
            for forward in row:
                forward()

        before = reach_working_clock()
        (reading,) = read(timer, 1, weights, limits, np.random.default_rng(0))
    if isinstance(reading, RuntimeError):
        raise reading
    return reading, (before, read_sm_mhz())


@contextmanager
def use_tf32(on: bool) -> Iterator[None]:
    """Compute PyTorch's convolutions in TF32, its default, or exactly."""
    cudnn: Any = torch.backends.cudnn
    before = cudnn.conv.fp32_precision
    cudnn.conv.fp32_precision = "tf32" if on else "ieee"
    try:
        yield
    finally:
        cudnn.conv.fp32_precision = before


def make_copies(num_bytes: int) -> list[Call]:
    """Return copies that read and write so many bytes each, enough of them to be cold."""
    half = num_bytes // 2  # it is read, then written
    sources = [
        torch.empty(half, dtype=torch.uint8, device="cuda") for _ in range(count_sets(num_bytes))
    ]
    targets = [torch.empty_like(source) for source in sources]
    return [
        lambda target=target, source=source: target.copy_(source)
        for target, source in zip(targets, sources, strict=True)
    ]


def measure_copy_gb_s(num_bytes: int) -> float:
    """Return the rate of a cold copy that reads and writes so many bytes in all, in GB/s."""
    return num_bytes / time_as_graph(make_copies(num_bytes)) / 1e6
