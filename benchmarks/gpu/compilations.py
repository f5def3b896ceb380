"""Can what a run on a GPU will ask for be compiled beforehand? On all cores, with no GPU.

    python benchmarks/gpu/compilations.py --capability 90 [--count]

leaves Triton's cache and the libraries of nvcc where TRITON_CACHE_DIR and XDG_CACHE_HOME say;
carried to a machine with the same versions of both, they are found there. What would be compiled is
found by running the work of the sections on CPU tensors, with launches that only note their case.
--count says how many kernels each section asks for, and how many there are.
"""

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

from benchmarks.gpu.checks import (
    CHANNELS,
    DTYPES,
    PRECISIONS,
    make_attention_cases,
    make_convolution_cases,
)
from benchmarks.gpu.latency import draw_specs
from benchmarks.gpu.networks import make_network, make_span, make_spanv2
from benchmarks.gpu.rows import Fact, Figure, Given, Row
from benchmarks.gpu.timing import use_tf32
from benchmarks.shared.arguments import make_parser
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
EVEN, ODD = (16, 16), (3, 34)  # height, width
MULTIPROCESSORS = {80: 108, 86: 84, 89: 128, 90: 132, 100: 148, 120: 170}  # of each's usual GPU
Job = Callable[[], object]


def compile_kernels(given: Given) -> Iterator[Row]:
    """Compile for this machine's GPU, and say how much that was: a section of gpu.py."""
    yield from compile_for_capability(_read_capability())


def compile_for_capability(capability: int) -> Iterator[Row]:
    """Compile what all sections ask for, on all cores; yields what was compiled and what was not.

    Args:
        capability: of the GPU, such as 90.
    """
    begin = time.monotonic()
    counts, jobs = gather_jobs(capability)
    yield Fact(name="compilations", value=counts)
    gathered = time.monotonic()

    # Forked: what was gathered holds functions of Triton, which cannot be sent. No thread runs by
    # now.
    failed: list[str] = []
    with multiprocessing.get_context("fork").Pool(num_cores(), _keep_jobs, (jobs,)) as pool:
        for name in pool.imap_unordered(_run_job, range(len(jobs))):
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


def gather_jobs(capability: int) -> tuple[dict[str, int], list[Job]]:
    """Return how many kernels each section asks for, and all jobs, each once, in their order."""
    jobs: list[Job] = []
    counts: dict[str, int] = {}
    if backend.no_triton(CPU) is None:
        with _note_launches(capability) as noted, torch.no_grad():
            for name, work in WORK.items():
                before = len(noted)
                work()
                counts[name] = len(noted) - before
        jobs += noted.values()

    if nvcc.find_nvcc() is not None:
        built = _list_libraries(f"sm_{capability}")
        counts["nvcc"] = len(built)
        jobs += built
    return counts, jobs


class StubDriver:
    """As much of a driver as a compilation asks for."""

    def __init__(self, capability: int) -> None:
        self.capability = capability

    def get_current_target(self) -> Any:
        """Return the GPU that Triton compiles for; its warps have 32 threads."""
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        """Return the only device."""
        return 0

    def get_current_stream(self, device: int = 0) -> int:
        """Return the default stream."""
        return 0


@contextmanager
def _note_launches(capability: int) -> Iterator[dict[Any, Job]]:
    """Note what Triton's launches would compile, and launch nothing: CPU tensors stand for a GPU's.

    Yields:
        What to call for each case to compile it, filled while the context is open.
    """
    import triton
    from triton.runtime.jit import JITFunction

    from nas.ops.conv_act import triton as conv_act_triton

    noted: dict[Any, Job] = {}
    compile_case, probed = JITFunction._do_compile, set()

    def note_case(kernel: Any, key: Any, *rest: Any) -> None:
        noted.setdefault((kernel.__name__, str(key)), lambda: compile_case(kernel, key, *rest))

    def pick_backend(choice: backend.Choice, device: torch.device, case: backend.Case) -> str:
        """Return what a GPU would pick, its probe of one pixel included."""
        if backend.setting() == "reference":
            return "reference"
        if (choice.op, case) not in probed:
            probed.add((choice.op, case))
            choice.probes["triton"](CPU, case)
        return "triton"

    triton.runtime.driver.set_active(StubDriver(capability))
    gpu = {  # what conv_act asks of a GPU
        "_read_capability": lambda device: capability,
        "_count_multiprocessors": lambda device: MULTIPROCESSORS.get(capability, 108),
    }
    with contextlib.ExitStack() as stack:
        patch = unittest.mock.patch.object
        stack.enter_context(patch(JITFunction, "_do_compile", note_case))
        stack.enter_context(patch(backend.Choice, "pick", pick_backend))
        for name, answer in gpu.items():
            stack.enter_context(patch(conv_act_triton, name, answer))
        yield noted


def _make_operands(
    channels: int, dtype: torch.dtype, size: tuple[int, int], last: bool = False
) -> list[Tensor]:
    """Return the attention's operands: two maps of a size, a weight and a bias."""
    maps = [torch.zeros(1, channels, *size, dtype=dtype) for _ in range(2)]
    if last:
        maps = [value.contiguous(memory_format=torch.channels_last) for value in maps]
    weight = torch.zeros(channels, channels, 1, 1, dtype=dtype)
    return [*maps, weight, torch.zeros(channels, dtype=dtype)]


def _call_headline() -> None:
    for channels in (32, 48):
        span_attention(*_make_operands(channels, torch.float32, ODD))


def _call_networks() -> None:
    """Call SPANV2 and SPAN through the runner, in both of its precisions, and fused."""
    image = torch.zeros(1, 3, *ODD)
    for spec in (make_spanv2(), make_span()):
        net = make_network(spec).cpu()
        fuse(net)(image)
        graph = trace(fuse(net.fold().eval().requires_grad_(False), attention="epilogue"))
        for dtype in (torch.float32, torch.float16):
            Plan(graph, {node.name: dtype for node in computing(graph)}, merged_for=CPU)(image)


def _call_checks() -> None:
    for case in make_attention_cases(CPU):
        case.ours(*case.operands)
    for precision in PRECISIONS.values():
        with use_tf32(precision.tf32):
            for case in make_convolution_cases(CPU, precision):
                case.ours(*case.operands)


def _call_figures() -> None:
    cases = itertools.product((32, 64), (torch.float32, torch.float16), (EVEN, ODD), (False, True))
    for case in cases:
        span_attention(*_make_operands(*case))
    for channels, dtype in itertools.product((32, 28, 48), (torch.float16, torch.float32)):
        x, *_ = _make_operands(channels, dtype, ODD, True)
        conv_act(
            x, torch.zeros(channels, channels, 3, 3, dtype=dtype), x.new_zeros(channels), "relu"
        )


@torch.enable_grad()
def _call_training() -> None:
    x, f = (torch.zeros(8, 32, *EVEN).requires_grad_() for _ in range(2))
    weight, bias = torch.zeros(32, 32, 1, 1).requires_grad_(), torch.zeros(32).requires_grad_()
    for out in (span_attention(x, f, weight, bias), parameter_free_attention(x, f)):
        out.sum().backward()


def _call_rank_networks() -> None:
    for spec in draw_specs():
        fuse(make_network(spec).cpu())(torch.zeros(1, 3, *ODD))


WORK: dict[str, Callable[[], None]] = {
    "attention against eager": _call_headline,
    "whole networks and modes": _call_networks,
    "conv_act and bandwidth": _call_figures,
    "forward and backward": _call_training,
    "checks": _call_checks,
    "rank stability": _call_rank_networks,
}


def _list_libraries(arch: str) -> list[Job]:
    """Return the builds of the CUDA attentions that the sections and the checks load."""
    folder = attention_cuda.FOLDER

    # The headline's widths first: its section is the first to ask.
    cases = sorted(itertools.product(CHANNELS, DTYPES), key=lambda case: case[0] not in (32, 48))
    jobs: list[Job] = [lambda: nvcc.build(folder / "parameter_free.cu", arch=arch)]
    for channels, dtype in cases:
        defines = attention_cuda.defines_of(channels, dtype)
        jobs.append(
            lambda defines=defines: nvcc.build(folder / "kernel.cu", arch=arch, defines=defines)
        )
    return jobs


def _read_capability() -> int:
    """Return the compute capability of the first GPU, such as 90.

    It is nvidia-smi's: a process that forks must not hold a CUDA context.
    """
    answer = output(["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader", "--id=0"])
    if answer is None:
        raise RuntimeError(
            "nvidia-smi does not say the compute capability; sections compile by themselves"
        )
    return int(answer.replace(".", ""))


_JOBS: list[Job] = []  # of a process of the pool


def _keep_jobs(jobs: list[Job]) -> None:
    _JOBS[:] = jobs


def _run_job(place: int) -> str | None:
    """Do one job in a process of the pool; returns its error in a line, None: it is done."""
    try:
        _JOBS[place]()
    except Exception as error:  # the others are worth having; the section that needs it says why
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    return None


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--capability", type=int, required=True, help="such as 90")
    parser.add_argument("--count", action="store_true", help="say how many there are, compile none")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.count:
        counts, jobs = gather_jobs(options.capability)
        print(counts, len(jobs))
    else:
        for row in compile_for_capability(options.capability):
            print(row)


if __name__ == "__main__":
    main()
