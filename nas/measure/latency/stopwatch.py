"""How long forwards take: the clocks of CPU and GPU."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.measure.latency.rounds import Block
from search_spaces.spec import ArchSpec

Upscaler = Callable[[Tensor], Tensor]  # (1, 3, H, W) in [0, 1] -> (1, 3, scale*H, scale*W)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """One network at one image, ready to run.

    Attributes:
        network: what is called; a part of a network, where layers are timed.
        spec: the network's; None for what belongs to no network.
    """

    network: Upscaler
    image: Tensor
    spec: ArchSpec | None

    def __call__(self) -> Tensor:
        return self.network(self.image)


# Runs a forward so many times, and returns how long each took.
Stopwatch = Callable[[Forward, int], Block]


def stopwatch_of(device: torch.device, *, threads: int) -> Stopwatch:
    """Return the device's own stopwatch.

    Args:
        threads: of the CPU, that a forward uses.
    """
    return time_on_cuda if device.type == "cuda" else CpuStopwatch(alone=threads == 1)


def time_on_cuda(forward: Forward, repeats: int) -> Block:
    """Time forwards with a pair of events each, as the challenge's harness: launches are included.

    The GPU waits at the start of each, so the host is never held up by a full queue: how long it
    issues is its own time.
    """
    total_ms = host = 0.0
    for _ in range(repeats):
        start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        torch.cuda.synchronize(forward.image.device)

        start.record()
        begin = time.perf_counter()
        forward()
        host += time.perf_counter() - begin
        end.record()

        end.synchronize()
        total_ms += start.elapsed_time(end)

    return Block(seconds=total_ms / 1e3 / repeats, host=host / repeats)


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuStopwatch:
    """Times forwards on the CPU: by the wall clock, or a single thread by the time in which it ran.

    On a quiet machine the two are equal. Where another process takes the core for a while, the wait
    is its doing, not the network's: it is left out, and recorded as idle.

    Attributes:
        alone: one thread does all the work.
    """

    alone: bool

    def __call__(self, forward: Forward, repeats: int) -> Block:
        # Two clocks: of the wall, and of the time in which this thread had a core.
        start, start_running = time.perf_counter(), time.thread_time()
        for _ in range(repeats):
            forward()
        wall, running = time.perf_counter() - start, time.thread_time() - start_running

        # The work of other threads is not in this thread's time.
        if not self.alone:
            return Block(seconds=wall / repeats)
        return Block(seconds=running / repeats, idle=max(0.0, 1 - running / wall))
