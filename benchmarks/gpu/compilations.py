"""Compiles what a run will ask for beforehand, on all cores; nothing is launched, so no GPU is needed.

    TRITON_CACHE_DIR=... XDG_CACHE_HOME=... python benchmarks/gpu/compilations.py --capability 90 [--count]

leaves Triton's cache and the libraries of nvcc where these variables say; carried to a machine with the same
versions of both, they are found there. What would be compiled is found by running the work of the sections on
CPU tensors, with launches that only note their case.
"""

import argparse
import contextlib
import itertools
import multiprocessing
import sys
import time
import unittest.mock
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from torch import Tensor

from benchmarks.gpu.checks import CHANNELS, DTYPES, PRECISIONS, attention_cases, convolution_cases
from benchmarks.gpu.latency import rank_specs
from benchmarks.gpu.networks import network, span, spanv2
from benchmarks.gpu.rows import Fact, Figure, Given, Row
from benchmarks.gpu.timing import tf32
from nas.deploy.plan import Plan, computing, trace
from nas.measure.device import output
from nas.ops import backend, nvcc
from nas.ops.conv_act import conv_act
from nas.ops.fuse import fuse
from nas.ops.span_attention import cuda as attention_cuda
from nas.ops.span_attention import parameter_free_attention, span_attention
from nas.system.cores import num_cores

CPU = torch.device("cpu")
# Pixels of 2048x2048 and of 339x510 as Triton tells them apart: a multiple of 16, and not.
EVEN, ODD = (16, 16), (3, 34)
MULTIPROCESSORS = {
    80: 108,
    86: 84,
    89: 128,
    90: 132,
    100: 148,
    120: 170,
}  # of the usual GPU of each
Job = Callable[[], object]


def compile_kernels(given: Given) -> Iterator[Row]:
    """As a section of gpu.py: compile for this machine's GPU, and say how much that was."""
    yield from compile_for(_capability())


def compile_for(capability: int) -> Iterator[Row]:
    begin = time.monotonic()
    counts, jobs = gather(capability)
    yield Fact(name="compilations", value=counts)
    gathered = time.monotonic()
    failed: list[str] = []
    # Forked: what was gathered holds functions of Triton, which cannot be sent. No thread runs by now.
    with multiprocessing.get_context("fork").Pool(num_cores(), _keep, (jobs,)) as pool:
        for name in pool.imap_unordered(_compile, range(len(jobs))):
            if name is not None:
                failed.append(name)
    if failed:
        yield Fact(name="not compiled", value=failed)
    yield Figure(
        name=f"{len(jobs) - len(failed)} kernels compiled on {num_cores()} cores",
        value=time.monotonic() - gathered,
        higher=False,
        unit="s",
        note=f"{len(failed)} failed; found in {gathered - begin:.1f} s",
    )


def gather(capability: int) -> tuple[dict[str, int], list[Job]]:
    """What the sections compile, each once: counts by section, and the jobs in the order of the sections."""
    jobs: list[Job] = []
    counts: dict[str, int] = {}
    if backend.no_triton(CPU) is None:
        with _noting(capability) as found, torch.no_grad():
            for name, work in WORK.items():
                before = len(found)
                work()
                counts[name] = len(found) - before
        jobs += found.values()
    if nvcc.find_nvcc() is not None:
        built = _libraries(f"sm_{capability}")
        counts["nvcc"] = len(built)
        jobs += built
    return counts, jobs


@contextmanager
def _noting(capability: int) -> Iterator[dict[Any, Job]]:
    """Note what Triton's launches would compile, and launch nothing: CPU tensors stand for a GPU's."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.runtime.jit import JITFunction

    from nas.ops.conv_act import triton as conv_act_triton

    class Driver:
        """As much of a driver as a compilation asks for."""

        def get_current_target(self) -> Any:
            return GPUTarget("cuda", capability, 32)

        def get_current_device(self) -> int:
            return 0

        def get_current_stream(self, device: int = 0) -> int:
            return 0

    found: dict[Any, Job] = {}
    compile_case, probed = JITFunction._do_compile, set()

    def note(kernel: Any, key: Any, *rest: Any) -> None:
        found.setdefault((kernel.__name__, str(key)), lambda: compile_case(kernel, key, *rest))

    def pick(choice: backend.Choice, device: torch.device, case: backend.Case) -> str:
        """What a GPU would pick, its probe of one pixel included."""
        if backend.setting() == "reference":
            return "reference"
        if (choice.op, case) not in probed:
            probed.add((choice.op, case))
            choice.probes["triton"](CPU, case)
        return "triton"

    triton.runtime.driver.set_active(Driver())
    gpu = {  # what conv_act asks of a GPU
        "_capability": lambda device: capability,
        "_multiprocessors": lambda device: MULTIPROCESSORS.get(capability, 108),
    }
    with contextlib.ExitStack() as stack:
        patch = unittest.mock.patch.object
        stack.enter_context(patch(JITFunction, "_do_compile", note))
        stack.enter_context(patch(backend.Choice, "pick", pick))
        for name, answer in gpu.items():
            stack.enter_context(patch(conv_act_triton, name, answer))
        yield found


def _attention(
    channels: int, dtype: torch.dtype, size: tuple[int, int], last: bool = False
) -> list[Tensor]:
    maps = [torch.zeros(1, channels, *size, dtype=dtype) for _ in range(2)]
    maps = [
        value.contiguous(memory_format=torch.channels_last) if last else value for value in maps
    ]
    return [
        *maps,
        torch.zeros(channels, channels, 1, 1, dtype=dtype),
        torch.zeros(channels, dtype=dtype),
    ]


def _headline() -> None:
    for channels in (32, 48):
        span_attention(*_attention(channels, torch.float32, ODD))


def _networks() -> None:
    """SPANV2 and SPAN through the runner, in both of its precisions, and fused."""
    image = torch.zeros(1, 3, *ODD)
    for spec in (spanv2(), span()):
        net = network(spec).cpu()
        fuse(net)(image)
        graph = trace(fuse(net.fold().eval().requires_grad_(False), attention="epilogue"))
        for dtype in (torch.float32, torch.float16):
            Plan(graph, {node.name: dtype for node in computing(graph)}, merged_for=CPU)(image)


def _checks() -> None:
    for case in attention_cases(CPU):
        case.ours(*case.operands)
    for precision in PRECISIONS.values():
        with tf32(precision.tf32):
            for case in convolution_cases(CPU, precision):
                case.ours(*case.operands)


def _figures() -> None:
    cases = itertools.product((32, 64), (torch.float32, torch.float16), (EVEN, ODD), (False, True))
    for case in cases:
        span_attention(*_attention(*case))
    for channels, dtype in itertools.product((32, 28, 48), (torch.float16, torch.float32)):
        x, *_ = _attention(channels, dtype, ODD, True)
        conv_act(
            x, torch.zeros(channels, channels, 3, 3, dtype=dtype), x.new_zeros(channels), "relu"
        )


@torch.enable_grad()
def _training() -> None:
    x, f = (torch.zeros(8, 32, *EVEN).requires_grad_() for _ in range(2))
    weight, bias = torch.zeros(32, 32, 1, 1).requires_grad_(), torch.zeros(32).requires_grad_()
    for out in (span_attention(x, f, weight, bias), parameter_free_attention(x, f)):
        out.sum().backward()


def _ranks() -> None:
    for spec in rank_specs():
        fuse(network(spec).cpu())(torch.zeros(1, 3, *ODD))


WORK: dict[str, Callable[[], None]] = {
    "attention against eager": _headline,
    "whole networks and modes": _networks,
    "conv_act and bandwidth": _figures,
    "forward and backward": _training,
    "checks": _checks,
    "rank stability": _ranks,
}


def _libraries(arch: str) -> list[Job]:
    """Builds of the CUDA attentions that the sections and the checks load."""
    folder = attention_cuda.FOLDER
    cases = sorted(itertools.product(CHANNELS, DTYPES), key=lambda case: case[0] not in (32, 48))
    jobs: list[Job] = [lambda: nvcc.build(folder / "parameter_free.cu", arch=arch)]
    for channels, dtype in cases:
        defines = attention_cuda.defines_of(channels, dtype)
        jobs.append(
            lambda defines=defines: nvcc.build(folder / "kernel.cu", arch=arch, defines=defines)
        )
    return jobs


def _capability() -> int:
    """Of the first GPU, such as 90; by nvidia-smi, for a process that forks must not hold a CUDA context."""
    said = output(["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader", "--id=0"])
    if said is None:
        raise RuntimeError(
            "nvidia-smi does not say the compute capability; sections compile by themselves"
        )
    return int(said.replace(".", ""))


_JOBS: list[Job] = []


def _keep(jobs: list[Job]) -> None:
    _JOBS[:] = jobs


def _compile(place: int) -> str | None:
    """Do one job in a process of the pool; its error in a line, None: it is done."""
    try:
        _JOBS[place]()
    except Exception as error:  # the others are worth having; the section that needs it says why
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    return None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--capability", type=int, required=True, help="such as 90")
    parser.add_argument("--count", action="store_true", help="say how many there are, compile none")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.count:
        counts, jobs = gather(options.capability)
        print(counts, len(jobs))
    else:
        for row in compile_for(options.capability):
            print(row)
