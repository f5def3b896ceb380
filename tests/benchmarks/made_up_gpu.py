"""Runs a section of benchmarks/gpu/gpu.py on a GPU that is made up: every line of it, with the CPU's times.

    python tests/benchmarks/made_up_gpu.py benchmarks.gpu.networks:whole_networks

Tensors that are asked for on CUDA are the CPU's, graphs replay nothing, sizes are small. It prints kind and
name of every row, and fails where a section raises.
"""

import contextlib
import importlib
import json
import sys
import time
import types
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from torch.overrides import TorchFunctionMode

from benchmarks.gpu import compilations, figures, latency, networks, probes, timing
from benchmarks.gpu.rows import Given
from nas.measure.latency import canary, sizes

SMALL = (9, 10)


class OnCpu(TorchFunctionMode):
    """Puts on the CPU what is asked for on CUDA."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.device:
            return func(*args, **(kwargs or {}))
        args = tuple(self._place(value) for value in args)
        return func(*args, **{name: self._place(value) for name, value in (kwargs or {}).items()})

    def _place(self, value):
        on_gpu = value == "cuda" if isinstance(value, str) else False
        on_gpu = on_gpu or (isinstance(value, torch.device) and value.type == "cuda")
        return torch.device("cpu") if on_gpu else value


class Event:
    def __init__(self, enable_timing=False):
        self.at = 0.0

    def record(self):
        self.at = time.perf_counter()

    def synchronize(self):
        pass

    def elapsed_time(self, other):
        return 1e3 * max(1e-6, other.at - self.at)


class Stream:
    def wait_stream(self, other):
        pass


class CUDAGraph:
    def replay(self):
        time.sleep(1e-5)


def nothing(*args, **kwargs):
    return contextlib.nullcontext()


def make_up_cuda():
    facts = types.SimpleNamespace(L2_cache_size=1, multi_processor_count=2, uuid="made-up")
    fakes = {
        "is_available": lambda: True, "current_device": lambda: 0, "get_device_properties": lambda *_: facts,
        "get_device_capability": lambda *_: (9, 0), "get_device_name": lambda *_: "made up", "Event": Event,
        "synchronize": nothing, "Stream": Stream, "current_stream": lambda *_: Stream(), "stream": nothing,
        "CUDAGraph": CUDAGraph, "graph": nothing, "graph_pool_handle": nothing, "device": nothing,
        "memory_allocated": lambda *_: 0,
    }  # fmt: skip
    for name, value in fakes.items():
        setattr(torch.cuda, name, value)

    profile = torch.profiler.profile
    torch.profiler.profile = lambda activities: profile(
        activities=[torch.profiler.ProfilerActivity.CPU]
    )


def make_it_small():
    for module in (figures, networks, probes, latency, timing):
        for name in ("TYPICAL", "SMALL", "LARGE"):
            if hasattr(module, name):
                setattr(module, name, SMALL)
        if hasattr(module, "copy_gb_s"):
            module.copy_gb_s = lambda num_bytes: 1.0
    figures.SIDE = timing.SIDE = 64
    figures.CONV_BACKEND = "reference"
    figures.kernels = lambda: ("reference", "reference")
    few = tuple((8 + 4 * place, 12, 0.5) for place in range(2))
    networks.CHALLENGE_SIZES = latency.CHALLENGE_SIZES = sizes.CHALLENGE_SIZES = few
    canary.SIDES["cuda"] = (16, 16)
    canary.WARM_SECONDS["cuda"] = probes.IDLE_S = 0.01
    probes.RAMP_S = 0.05
    timing.SETS_OVER_L2, timing.MIN_CALLS = 1, 1
    brief = {"max_seconds": 0.1, "warmup_seconds": 0.0, "min_rounds": 3}
    timing.Limits = lambda **given: LIMITS(**given | brief)
    latency.BRIEF |= {"min_rounds": 3, "max_rounds": 5, "warmup_seconds": 0.0}
    specs = latency.rank_specs(3)
    latency.rank_specs = lambda: specs
    latency._readings = lambda arguments, count, **brief: (
        latency.meter(**brief).measure(latency.spanv2(), seed=seed) for seed in range(2)
    )
    compilations._capability = lambda: 90
    compilations.WORK = {}
    compilations._libraries = lambda arch: []


LIMITS = timing.Limits

if __name__ == "__main__":
    torch.set_num_threads(1)
    make_up_cuda()
    make_it_small()
    for target in sys.argv[1:]:
        module, _, name = target.partition(":")
        with OnCpu():
            for row in getattr(importlib.import_module(module), name)(Given()):
                print(target, type(row).__name__, row.name)
                json.dumps(asdict(row), allow_nan=False)
