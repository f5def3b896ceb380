"""Latency as a paired ratio: a candidate's runtime over the baseline's, alternately in one process."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from nas.measure.conditions import reading_conditions
from nas.measure.device import device_id, device_name
from nas.measure.lock import exclusive
from nas.measure.protocol import Block, Limits, Reading, Subject, read
from nas.measure.sizes import CHALLENGE_SIZES, CPU_SIZES, Size, weighted
from nas.record import Latency
from search_spaces.initialise import initial_network
from search_spaces.spec import ArchSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyConfig:
    """How latency is read: conf/latency/*.yaml holds the values.

    Attributes:
        mode: challenge (eager, batch 1, on CUDA), cpu, or auto: challenge on CUDA and cpu elsewhere.
        sizes: height and width of the LR images; None: 64x64 on the CPU, the challenge's list on CUDA.
        threads: of the CPU.
        tf32: on CUDA, convolutions in TF32.
        target_ci: half-width of the 95 % interval, relative to the ratio, that ends a reading.
    """

    mode: Literal["auto", "challenge", "cpu"]
    sizes: list[tuple[int, int]] | None
    threads: int
    tf32: bool
    warmup_seconds: float
    min_rounds: int
    max_rounds: int
    max_seconds: float
    target_ci: float

    def __post_init__(self) -> None:
        if self.sizes is not None and not self.sizes:
            raise ValueError("sizes must name at least one size; use [[64,64]], or null for the usual ones")
        for size in self.sizes or ():
            if min(size) < 1:
                raise ValueError(f"sizes must be at least 1x1, got {size[0]}x{size[1]}")
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")
        if not 3 <= self.min_rounds <= self.max_rounds:
            raise ValueError(
                f"min_rounds must be at least 3 and at most max_rounds, "
                f"got {self.min_rounds} and {self.max_rounds}"
            )
        for name in ("warmup_seconds", "max_seconds", "target_ci"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and not negative, got {value}")

    def limits(self) -> Limits:
        return Limits(
            warmup_seconds=self.warmup_seconds,
            min_rounds=self.min_rounds,
            max_rounds=self.max_rounds,
            max_seconds=self.max_seconds,
            target_ci=self.target_ci,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """One network at one image, ready to run."""

    network: nn.Module
    image: Tensor

    def __call__(self) -> Tensor:
        out: Tensor = self.network(self.image)
        return out


Stopwatch = Callable[[Forward, int], Block]


class LatencyMeter:
    """Reads latencies against one baseline on one device, alone on it.

    Args:
        device: the one in use; `mode` cpu reads on the CPU all the same.
        stopwatch: runs a forward so many times and says how long each took; None: the device's own.
    Raises:
        ValueError: `mode` challenge without a GPU.
    """

    def __init__(
        self,
        config: LatencyConfig,
        *,
        baseline: ArchSpec,
        device: torch.device,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        if config.mode == "challenge" and device.type != "cuda":
            raise ValueError(
                f"latency.mode=challenge needs a CUDA GPU, the device is {device}; use auto or cpu"
            )
        self.config = config
        self.baseline = baseline
        self.device = torch.device("cpu") if config.mode == "cpu" else device
        on_gpu = self.device.type == "cuda"
        self.mode = "challenge" if on_gpu else "cpu"
        self.dtype = "float32-tf32" if on_gpu and config.tf32 else "float32"
        self.sizes = weighted(
            CHALLENGE_SIZES
            if on_gpu
            else CPU_SIZES
            if config.sizes is None
            else tuple((height, width, 1.0) for height, width in config.sizes)
        )
        self.stopwatch = stopwatch or (time_on_cuda if on_gpu else _CpuStopwatch(alone=config.threads == 1))

    def measure(self, spec: ArchSpec, *, seed: int) -> Latency:
        """Read a network's latency; waits for the device.

        Args:
            seed: of the random weights, the image and the bootstrap.
        Raises:
            ValueError: its scale is not the baseline's.
            RuntimeError: its output is not finite or of the wrong shape, or it does not fit in memory.
        """
        if spec.scale != self.baseline.scale:
            raise ValueError(f"scale is {spec.scale}, that of the latency's baseline {self.baseline.scale}")
        with exclusive(device_id(self.device)):
            return self._latency(self._read(spec, seed))

    def baseline_reading(self, *, seed: int = 0) -> Latency:
        """The baseline's own latency: its ratio is 1 by definition."""
        reading = self.measure(self.baseline, seed=seed)
        return replace(reading, runtime_ms=reading.baseline_ms, ratio=1.0, ci=0.0)

    def _read(self, spec: ArchSpec, seed: int) -> Reading:
        forwards: dict[Subject, list[Forward]] = {
            "baseline": self._forwards(self.baseline, seed),
            "candidate": self._forwards(spec, seed),
        }

        def timer(subject: Subject, place: int, repeats: int) -> Block:
            return self.stopwatch(forwards[subject][place], repeats)

        config = self.config
        with (
            reading_conditions(self.device, threads=config.threads, tf32=config.tf32),
            torch.inference_mode(),
        ):
            for place in sorted(range(len(self.sizes)), key=self._num_pixels, reverse=True):
                for subject in forwards:  # the largest first: the allocator then has room for all
                    _check(forwards[subject][place], self.baseline.scale)
            weights = [size.weight for size in self.sizes]
            return read(timer, weights, config.limits(), np.random.default_rng(seed))

    def _forwards(self, spec: ArchSpec, seed: int) -> list[Forward]:
        generator = torch.Generator().manual_seed(seed)
        images = [torch.rand(1, 3, size.height, size.width, generator=generator) for size in self.sizes]
        # Of random weights as PyTorch draws them, the learned gates of a deep network overflow.
        smallest = min(images, key=Tensor.numel)
        network = initial_network(spec, seed, smallest, zero_output=False).to(self.device).eval()
        return [Forward(network=network, image=image.to(self.device)) for image in images]

    def _num_pixels(self, place: int) -> int:
        return self.sizes[place].height * self.sizes[place].width

    def _latency(self, reading: Reading) -> Latency:
        return Latency(
            runtime_ms=reading.candidate_ms,
            baseline_ms=reading.baseline_ms,
            ratio=reading.ratio,
            ci=reading.ci,
            mode=self.mode,
            device=device_name(self.device),
            dtype=self.dtype,
            sizes=listed(self.sizes),
            threads=self.config.threads,
            rounds=reading.rounds,
            rejected=reading.rejected,
        )


def listed(sizes: Sequence[Size]) -> str:
    """Sizes as a record holds them: "64x64,339x510", height first."""
    return ",".join(map(str, sizes))


def time_on_cuda(forward: Forward, repeats: int) -> Block:
    """One pair of events an image, as the challenge's harness: launches are part of the time."""
    total_ms = 0.0
    for _ in range(repeats):
        start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        torch.cuda.synchronize(forward.image.device)
        start.record()
        forward()
        end.record()
        end.synchronize()
        total_ms += start.elapsed_time(end)
    return Block(seconds=total_ms / 1e3 / repeats)


@dataclass(frozen=True, slots=True, kw_only=True)
class _CpuStopwatch:
    """Wall-clock time, or where one thread does all the work (`alone`) the time in which it ran.

    On a quiet machine the two are equal. Where another process takes the core for a while, the wait is its
    doing, not the network's: it is left out, and told as idle.
    """

    alone: bool

    def __call__(self, forward: Forward, repeats: int) -> Block:
        start, start_running = time.perf_counter(), time.thread_time()
        for _ in range(repeats):
            forward()
        wall, running = time.perf_counter() - start, time.thread_time() - start_running
        if not self.alone:
            return Block(seconds=wall / repeats)
        return Block(seconds=running / repeats, idle=max(0.0, 1 - running / wall))


def _check(forward: Forward, scale: int) -> None:
    out = forward()
    _, _, height, width = forward.image.shape
    if out.shape != (1, 3, scale * height, scale * width):
        raise RuntimeError(f"the output for {height}x{width} has the shape {tuple(out.shape)}")
    if not torch.isfinite(out).all():
        raise RuntimeError(f"the output for {height}x{width} is not finite")
