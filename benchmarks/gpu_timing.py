"""Time on a CUDA GPU: work replayed as a graph, on inputs that the cache does not hold."""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch

SETS_OVER_L2 = 4  # inputs and outputs of all calls together, over the size of the L2 cache
WARM_UPS, REPLAYS = 3, 21
MIN_CALLS, MAX_CALLS = 4, 64


def num_sets(num_bytes: int) -> int:
    """How many sets of operands make a call cold: each has left the cache before its turn comes again."""
    l2 = torch.cuda.get_device_properties(0).L2_cache_size
    return min(MAX_CALLS, max(MIN_CALLS, math.ceil(SETS_OVER_L2 * l2 / max(1, num_bytes))))


def graph_ms(calls: Sequence[Callable[[], Any]]) -> float:
    """Milliseconds a call: all calls captured in one CUDA graph, the median of some replays."""
    graph = captured(calls)
    times = []
    for replay in range(WARM_UPS + REPLAYS):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        if replay >= WARM_UPS:
            times.append(start.elapsed_time(end) / len(calls))
    return statistics.median(times)


def captured(calls: Sequence[Callable[[], Any]]) -> torch.cuda.CUDAGraph:
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for call in (*calls, *calls):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        held = [call() for call in calls]  # kept until the end: each call writes memory of its own
    del held
    return graph


def pair_ms(
    first: Sequence[Callable[[], Any]], second: Sequence[Callable[[], Any]], *, rounds: int = 9
) -> tuple[float, float, float]:
    """Two kinds of calls in turn, as graphs: milliseconds a call of each, and the median of their ratios.

    Returns:
        First, second, first / second.
    """
    graphs = captured(first), captured(second)
    counts = len(first), len(second)
    found: list[tuple[float, float]] = []
    for done in range(rounds + 1):
        times = []
        for graph, count in zip(graphs, counts, strict=True):
            graph.replay()
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            for _ in range(3):
                graph.replay()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end) / 3 / count)
        if done:
            found.append((times[0], times[1]))
    ratio = statistics.median(a / b for a, b in found)
    return statistics.median(a for a, _ in found), statistics.median(b for _, b in found), ratio


def eager_ms(call: Callable[[], Any], *, repeats: int = 30) -> float:
    """Milliseconds a call as the challenge's harness takes them: a pair of events each, launches too."""
    times = []
    for done in range(repeats + 5):
        torch.cuda.synchronize()
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call()
        end.record()
        end.synchronize()
        if done >= 5:
            times.append(start.elapsed_time(end))
    return statistics.median(times)


def copy_gb_s(num_bytes: int) -> float:
    """Bytes read and written a second by a copy of so many bytes in all, cold, in GB/s."""
    count = num_sets(num_bytes)
    half = num_bytes // 2
    sources = [torch.empty(half, dtype=torch.uint8, device="cuda") for _ in range(count)]
    targets = [torch.empty_like(source) for source in sources]
    calls = [
        lambda target=target, source=source: target.copy_(source)
        for target, source in zip(targets, sources, strict=True)
    ]
    return num_bytes / graph_ms(calls) / 1e6
