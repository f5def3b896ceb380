"""Fixed work at the start and end of a reading: if its time differs, the device has changed."""

import statistics
import time

import torch

from nas.measure.latency.stopwatch import Forward, Stopwatch

NUM_BLOCKS = 7
MIN_BLOCK_SECONDS = 5e-3
# Sides of what is copied and multiplied: beyond the CPU's second-level cache, and far beyond a
# GPU's last one; about a millisecond on a core, a tenth of that on a GPU.
SIDES = {"cpu": (1024, 256), "cuda": (8192, 2048)}
# On two shared cores, 0.04 to 0.10 in the median and 0.36 at most over three seconds, in which
# paired ratios stay within their intervals: on a CPU a drift above this tells a change of the
# machine, not of its load.
MAX_DRIFT = {"cpu": 0.5, "cuda": 0.02}
# Of matrix products before fixed work is timed. A GPU that waited while networks were built stands
# at its idle clock (an H200 at 345 MHz of 1980): read there, the start would differ from the end by
# a multiple.
WARM_SECONDS = {"cpu": 0.0, "cuda": 0.3}


class Canary:
    """A copy and a matrix product on a device, float32."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

        # The copy tells of the memory, the product of the arithmetic.
        copied, multiplied = SIDES[device.type]
        source = torch.ones(copied, copied, device=device)
        target = torch.empty_like(source)
        factor = torch.full((multiplied, multiplied), 1 / multiplied, device=device)
        self._forwards = [
            Forward(network=lambda image: target.copy_(image), image=source, spec=None),
            Forward(network=lambda image: torch.mm(image, factor), image=factor, spec=None),
        ]

    def read(self, stopwatch: Stopwatch) -> tuple[float, ...]:
        """Return the seconds of copy and product, medians of some blocks, at the working clock."""
        warm_up(self.device)
        return tuple(_time_median(stopwatch, forward) for forward in self._forwards)


def warm_up(device: torch.device) -> None:
    """Multiply matrices for `WARM_SECONDS`, so that a GPU reaches its working clock."""
    side = SIDES[device.type][1]
    factor = torch.full((side, side), 1 / side, device=device)
    begin = time.perf_counter()
    while time.perf_counter() - begin < WARM_SECONDS[device.type]:
        for _ in range(8):
            torch.mm(factor, factor)
        if device.type == "cuda":  # else thousands would be queued before the time is over
            torch.cuda.synchronize(device)


def drift(before: tuple[float, ...], after: tuple[float, ...]) -> float:
    """Return by which share the time of the fixed work changed, up or down; the largest change."""
    pairs = [(a, b) for a, b in zip(before, after, strict=True) if a > 0 and b > 0]
    return max((max(a, b) / min(a, b) - 1 for a, b in pairs), default=0.0)


def _time_median(stopwatch: Stopwatch, forward: Forward) -> float:
    """Return the seconds of one forward, the median of blocks of at least `MIN_BLOCK_SECONDS`."""
    seconds = stopwatch(forward, 1).seconds  # warms up too
    repeats = max(1, round(MIN_BLOCK_SECONDS / seconds)) if seconds > 0 else 1
    return statistics.median(stopwatch(forward, repeats).seconds for _ in range(NUM_BLOCKS))
