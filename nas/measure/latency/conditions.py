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
    """Run a block under the conditions of a reading.

    Garbage is not collected. On the CPU the number of threads is set, a single thread keeps its
    core, and denormals are flushed to zero; on CUDA the precision is set.

    Args:
        threads: of the CPU; not used on CUDA.
        tf32: on CUDA, convolutions may compute in TF32; not used on the CPU.
    """
    # A collection in the middle of a block would count as its network's time.
    collects = gc.isenabled()
    gc.disable()
    try:
        with _set_up_cuda(device, tf32) if device.type == "cuda" else _set_up_cpu(threads):
            yield
    finally:
        if collects:
            gc.enable()


@contextlib.contextmanager
def _set_up_cpu(threads: int) -> Iterator[None]:
    num_threads, flushes = torch.get_num_threads(), flushes_denormals()
    with _pin_to_core() if threads == 1 else contextlib.nullcontext():
        try:
            _keep_freed_memory()
            torch.set_num_threads(threads)
            # Random weights can give denormals, which are slower to compute by a multiple.
            torch.set_flush_denormal(True)
            yield
        finally:
            torch.set_flush_denormal(flushes)
            torch.set_num_threads(num_threads)


@contextlib.contextmanager
def _set_up_cuda(device: torch.device, tf32: bool) -> Iterator[None]:
    """Set what the challenge's harness sets; TF32 of convolutions is the caller's choice.

    Matrix products are not in TF32 in that harness, so here neither.
    """
    cudnn: Any = torch.backends.cudnn
    matmul = torch.backends.cuda.matmul

    # Switches are those of the whole process, so they are put back whatever happens.
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
def _pin_to_core() -> Iterator[None]:
    """Keep this thread on the core on which it runs, where the system can.

    It is meant for a single thread: OpenMP's workers would inherit the core from the thread that
    starts them, share it, and keep it after the reading.
    """
    core = _find_current_core()
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

    Its threshold for handing memory back to the system follows the largest piece that was freed so
    far (to 32 MiB). Before that, feature maps are mapped anew, zeroed and unmapped in some forwards
    and not in others, by the chance of how the heap lies: SPANV2 / SPAN then spreads over 5 %
    instead of 1.5 %.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)  # freed at once, which raises the threshold


def flushes_denormals() -> bool:
    """Return whether this thread's arithmetic flushes denormals to zero.

    torch can set this and cannot tell it, so half the smallest normal number is computed.
    """
    smallest_normal = sys.float_info.min
    return smallest_normal / 2 == 0.0


def _find_current_core() -> int | None:
    try:
        stat = Path("/proc/thread-self/stat").read_text(encoding="ascii")
    except OSError:  # not Linux
        return None
    fields = stat.rpartition(")")[2].split()  # a thread's name may hold spaces, and ends in ")"
    return int(fields[36])  # field 39 of proc(5), counted after the name
