"""The conditions under which latency is read, set for a reading and put back after it."""

import contextlib
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch


@contextlib.contextmanager
def reading_conditions(device: torch.device, *, threads: int, tf32: bool) -> Iterator[None]:
    """No garbage collection; on the CPU its threads, one core and no denormals; on CUDA the precision."""
    collects = gc.isenabled()
    gc.disable()
    try:
        with _cuda(device, tf32) if device.type == "cuda" else _cpu(threads):
            yield
    finally:
        if collects:
            gc.enable()


@contextlib.contextmanager
def _cpu(threads: int) -> Iterator[None]:
    num_threads, flushes = torch.get_num_threads(), flushes_denormals()
    with _pinned() if threads == 1 else contextlib.nullcontext():
        try:
            _keep_freed_memory()
            torch.set_num_threads(threads)
            torch.set_flush_denormal(True)
            yield
        finally:
            torch.set_flush_denormal(flushes)
            torch.set_num_threads(num_threads)


@contextlib.contextmanager
def _cuda(device: torch.device, tf32: bool) -> Iterator[None]:
    """As the challenge's harness, but for TF32, which is a switch: matrix products are not in TF32 there."""
    cudnn: Any = torch.backends.cudnn
    matmul = torch.backends.cuda.matmul
    before = cudnn.benchmark, cudnn.conv.fp32_precision, matmul.fp32_precision
    try:
        cudnn.benchmark = False
        cudnn.conv.fp32_precision = "tf32" if tf32 else "ieee"
        matmul.fp32_precision = "ieee"
        with torch.cuda.device(device):
            yield
    finally:
        cudnn.benchmark, cudnn.conv.fp32_precision, matmul.fp32_precision = before


@contextlib.contextmanager
def _pinned() -> Iterator[None]:
    """Keep this thread on the core on which it runs, where the system can.

    For one thread alone: OpenMP's workers would inherit the core from the thread that starts them, share
    it, and keep it after the reading.
    """
    core = _current_core()
    if core is None or not (hasattr(os, "sched_getaffinity") and hasattr(os, "sched_setaffinity")):
        yield
        return
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {core})  # 0: the calling thread
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _keep_freed_memory() -> None:
    """Let glibc's allocator keep what a forward frees for the next one.

    Its threshold for handing memory back to the system follows the largest piece that was freed so far (to
    32 MiB). Before that, feature maps are mapped anew, zeroed and unmapped in some forwards and not in
    others, by the chance of how the heap lies: SPANV2 / SPAN then spreads over 5 % instead of 1.5 %.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


def flushes_denormals() -> bool:
    """Whether this thread's arithmetic flushes denormals to zero; torch can set it, not tell it."""
    smallest_normal = sys.float_info.min
    return smallest_normal / 2 == 0.0


def _current_core() -> int | None:
    try:
        fields = (
            Path("/proc/thread-self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        )
    except OSError:  # not Linux
        return None
    return int(fields[36])  # field 39 of proc(5), counted after the name
