"""Which tilings of conv_act are faster than the rules' on this GPU?

    python benchmarks/kernels/tune.py [--precisions fp16 tf32] [--size 339 510] [--limit 12]
    python benchmarks/kernels/tune.py --dry-run [--capability 90]

Each tiling is checked, then timed; the fastest of a case is written to the table that `config`
reads, or to --out, where it beats the rules' by 2 %. Tilings are compiled and checked by a process
each, on all cores; they are timed alone, one after the other. An entry of another GPU or case in
the table stays. A dry run needs no GPU and prints registers and stack of every tiling. Without a
GPU it exits 2.
"""

import argparse
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

if __name__ in ("__main__", "__mp_main__"):
    os.environ.pop("TRITON_INTERPRET", None)  # what is timed is compiled

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.kernels.ahead_of_time import Job, compile_job, list_shipped_jobs, measure_kernel
from benchmarks.shared.arguments import make_parser
from nas.measure.latency.canary import warm_up
from nas.ops.conv_act import ATTENTIONS, GATED, reference
from nas.ops.conv_act import triton as launcher
from nas.ops.conv_act.config import HELD_BYTES, TABLE, Case, Config, default, read_table
from nas.ops.conv_act.rounding import Rounding, round_to_tf32

DTYPES = {"fp16": torch.float16, "tf32": torch.float32, "fp32": torch.float32}
LIMITS = {"fp16": 1e-3, "tf32": 6e-4, "fp32": 2e-6}  # relative to float64, over the whole map
WORTH_IT = 0.98  # of the rules' time: a tiling that is faster by less is not written
CHECKED_SIZE = (37, 131)  # odd, more than one tile in each direction
SETS = 4  # of maps, in turn: one launch shall not find its maps in the cache
LAST = torch.channels_last


def propose_tilings(job: Job, limit: int) -> list[Config]:
    """Return the rules' own tiling, then others, at most `limit` in all."""
    case, first = job.case, default(job.case)
    if case.image or case.separable:
        heights = (8, 4, 16) if case.image else (4, 8, 2, 16)
        shapes = itertools.product(heights, (16, 32), (4, 8))
        others = [replace(first, height=h, width=w, num_warps=n) for h, w, n in shapes]
    else:
        others = list(_propose_for_maps(case, first))
    return list(dict.fromkeys([first, *others]))[:limit]


def _propose_for_maps(case: Case, first: Config) -> Iterator[Config]:
    """Yield tilings for a map of features: rows, then loops, then tiles."""
    # Rows hold all weights at once: only where they fit.
    weights = case.kernel**2 * first.block_k * first.block_n * case.item_bytes
    if (
        case.kernel == 3
        and not case.strict
        and case.epilogue != "pixel_shuffle"
        and weights <= HELD_BYTES
    ):
        for height in (2, 4, 8):
            yield replace(first, form="rows", height=height, width=64, num_warps=4)
    for stages, (height, warps) in itertools.product((3, 4, 1), ((8, 4), (8, 8), (4, 4), (16, 8))):
        yield replace(
            first, form="loop", height=height, width=16, num_warps=warps, num_stages=stages
        )
    for height, warps in ((8, 8), (4, 4), (16, 8)):
        yield replace(first, form="tile", height=height, width=16, num_warps=warps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operands:
    """What a launch reads and writes; None: it has no such operand.

    Attributes:
        weight: packed as the kernel reads it.
        depth: taps of a depthwise convolution before it, (K, K, I).
        out: NaN everywhere, so that what a launch does not write shows.
    """

    x: Tensor
    weight: Tensor
    bias: Tensor
    skip: Tensor | None
    gate_weight: Tensor | None
    gate_bias: Tensor | None
    depth: Tensor | None
    out: Tensor


def make_operands(job: Job, size: tuple[int, int], device: str) -> Operands:
    """Return operands by which results are of unit size, the same on each call."""
    generator = torch.Generator().manual_seed(0)
    dtype, epilogue = DTYPES[job.precision], _name_epilogue(job)
    channels, inner, kernel = job.channels, job.in_channels, 1 if job.separable else job.kernel

    def draw_normal(*shape: int, scale: float = 1.0) -> Tensor:
        value = (scale * torch.randn(shape, generator=generator)).to(dtype)
        return (round_to_tf32(value) if job.precision == "tf32" else value).to(device)

    taps = torch.randn(job.kernel, job.kernel, inner, generator=generator).to(device) / job.kernel
    x = draw_normal(1, inner, *size).contiguous(memory_format=LAST)
    weight = draw_normal(channels, inner, kernel, kernel, scale=(inner * kernel**2) ** -0.5)
    bias = draw_normal(channels)

    # What the epilogue takes beside them.
    skip, gate_weight, gate_bias = None, None, None
    if epilogue in ATTENTIONS:
        skip = draw_normal(1, channels, *size).contiguous(memory_format=LAST)
    if epilogue in GATED:
        columns = channels if epilogue == "conv1x1" else 1
        gate_weight = draw_normal(channels, columns, 1, 1, scale=0.2)
        gate_bias = draw_normal(channels)

    packed = launcher.pack(weight)
    out = torch.full_like(reference(x, packed, bias, "none", None, None, None), torch.nan)
    if job.shuffle:
        out = torch.pixel_shuffle(out, job.shuffle).float().contiguous()
    return Operands(
        x=x,
        weight=packed,
        bias=bias,
        skip=skip,
        gate_weight=gate_weight,
        gate_bias=gate_bias,
        depth=taps if job.separable else None,
        out=out,
    )


def _name_epilogue(job: Job) -> str:
    return "none" if job.shuffle else job.epilogue


def compute_exact(job: Job, given: Operands) -> Tensor:
    """Return what a launch should write, in float64."""
    values = (given.x, given.weight, given.bias, given.skip, given.gate_weight, given.gate_bias)
    operands = [None if value is None else value.double() for value in values]
    if given.depth is not None:
        taps = given.depth.double().permute(2, 0, 1)[:, None]
        operands[0] = F.conv2d(operands[0], taps, padding=job.kernel // 2, groups=job.in_channels)
    exact = reference(*operands[:3], _name_epilogue(job), *operands[3:])
    return torch.pixel_shuffle(exact, job.shuffle) if job.shuffle else exact


def make_call(
    job: Job, config: Config, size: tuple[int, int], device: str
) -> tuple[Callable[[], None], Operands]:
    """Return a launch of the job under a tiling, and the operands that it is on."""
    operands = make_operands(job, size, device)

    def call() -> None:
        launcher.tune({job.case: config})
        launcher.launch(
            operands.x, operands.weight, operands.bias, _name_epilogue(job), out=operands.out,
            skip=operands.skip, gate_weight=operands.gate_weight, gate_bias=operands.gate_bias,
            depth=operands.depth, shuffle=job.shuffle,
            precision="tf32x3" if job.precision == "fp32" else "tf32",
            rounding=Rounding(x=False, weight=False, out=True),
        )  # fmt: skip

    return call, operands


def find_fault(job: Job, config: Config, device: str) -> str | None:
    """Compile a tiling, run it once on poisoned maps, and say what is wrong; None: it is right."""
    try:
        call, operands = make_call(job, config, CHECKED_SIZE, device)
        call()
        exact = compute_exact(job, operands)
        error = ((operands.out.double() - exact).norm() / exact.norm()).item()
    except Exception as fault:  # of the compiler or the GPU: this tiling alone is out
        return f"{type(fault).__name__}: {(str(fault).splitlines() or [''])[0]}"
    limit = LIMITS[job.precision]
    return None if error <= limit else f"wrong by {error:.2g} of {limit:g}"


def time_us(job: Job, config: Config, size: tuple[int, int]) -> float:
    """Return the median microseconds of a launch in a CUDA graph, on several maps in turn."""
    calls = [make_call(job, config, size, "cuda")[0] for _ in range(SETS)]
    for call in calls:
        call()

    graph, repeats = torch.cuda.CUDAGraph(), 5
    with torch.cuda.graph(graph):
        for _ in range(repeats):
            for call in calls:
                call()

    # Maps were made on the CPU: at an idle clock the first tiling, the rules' own, would lose.
    warm_up(torch.device("cuda"))
    times = []
    for _ in range(25):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(1e3 * start.elapsed_time(end) / (repeats * SETS))
    return median(times[5:])


def tune_jobs(jobs: list[Job], size: tuple[int, int], limit: int) -> Iterator[dict[str, Any]]:
    """Time the right ones of each job's tilings.

    Yields:
        An entry of the table where one is clearly faster than the rules'.
    """
    tilings = {job: propose_tilings(job, limit) for job in jobs}
    tasks = [(job, config, "cuda") for job in jobs for config in tilings[job]]
    faults = {(job, config): fault for (job, config, _), fault in _run_on_cores(find_fault, tasks)}

    for job in jobs:
        times = {}
        for config in tilings[job]:
            fault = faults[job, config]
            if fault is None:
                times[config] = time_us(job, config, size)
            print(
                f"{describe_job(job)}: {config}: {fault or f'{times[config]:.1f} us'}", flush=True
            )
        if not times:
            continue

        best = min(times, key=lambda config: times[config])
        usual = times.get(default(job.case))
        if usual is None or times[best] < WORTH_IT * usual:
            yield {
                "gpu": torch.cuda.get_device_name(),
                "size": list(size),
                "us": round(times[best], 2),
                "rules_us": usual and round(usual, 2),
                "case": job.case._asdict(),
                "config": asdict(best),
            }


def compile_all(jobs: list[Job], limit: int) -> Iterator[tuple[Job, Config, dict[str, int] | str]]:
    """Compile the tilings of each job with no GPU.

    Yields:
        Job, tiling, and registers, stack and so on, or in words why it does not compile.
    """
    tasks = [(job, config) for job in jobs for config in propose_tilings(job, limit)]
    for (job, config), counts in _run_on_cores(_measure_tiling, tasks):
        yield job, config, counts


def _measure_tiling(job: Job, config: Config) -> dict[str, int] | str:
    try:
        return measure_kernel(compile_job(replace(job, tiling=asdict(config))))
    except Exception as fault:  # of the compiler: this tiling alone is out
        return f"{type(fault).__name__}: {(str(fault).splitlines() or [''])[0]}"


def _run_on_cores(function: Callable[..., Any], tasks: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Run each task in a process of its own: a fault on the GPU ends the process that met it.

    Yields:
        Each task with its result, or with its error in words, as it ends.
    """
    workers = min(len(os.sched_getaffinity(0)), len(tasks))
    with ProcessPoolExecutor(workers, get_context("spawn"), max_tasks_per_child=1) as pool:
        running = {pool.submit(function, *task): task for task in tasks}
        for done in as_completed(running):
            error = done.exception()
            yield running[done], f"{type(error).__name__}: {error}" if error else done.result()


def write_entries(path: Path, entries: list[dict[str, Any]]) -> None:
    """Put entries into a table, in the place of those of the same case; other cases stay.

    Raises:
        ValueError: what would be written is no table; the file is as it was.
    """
    cases = [entry["case"] for entry in entries]
    before = json.loads(path.read_text()) if path.exists() else []
    kept = [entry for entry in before if entry["case"] not in cases]
    lines = ",\n".join(json.dumps(entry, allow_nan=False) for entry in [*kept, *entries])
    new = path.with_suffix(".new")
    new.write_text(f"[\n{lines}\n]\n" if lines else "[]\n")
    read_table(new)
    new.replace(path)


def describe_job(job: Job) -> str:
    """Return a launch in a few words."""
    what = "separable " * job.separable
    what += f"shuffle {job.shuffle}" if job.shuffle else job.epilogue
    return f"{job.in_channels}->{job.channels} {job.kernel}x{job.kernel} {what} {job.precision}"


def _parse_arguments() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--precisions", nargs="+", choices=DTYPES, default=["fp16", "tf32"])
    parser.add_argument("--size", type=int, nargs=2, default=(339, 510), metavar=("H", "W"))
    parser.add_argument("--limit", type=int, default=12, help="tilings a case")
    parser.add_argument("--cases", type=int, help="only the first so many of each precision")
    parser.add_argument("--out", type=Path, default=TABLE, help="the table that is written")
    parser.add_argument("--dry-run", action="store_true", help="compile only, with no GPU")
    parser.add_argument(
        "--capability", type=int, default=90, help="of the GPU that a dry run compiles for"
    )
    return parser.parse_args()


def main() -> int:
    arguments = _parse_arguments()
    if not arguments.dry_run and not torch.cuda.is_available():
        print(
            "tune: there is no CUDA GPU, nothing is timed; --dry-run compiles without one",
            file=sys.stderr,
        )
        return 2

    # The launches of the published networks, on this GPU or the one that is named.
    capability = arguments.capability
    if not arguments.dry_run:
        major, minor = torch.cuda.get_device_capability()
        capability = 10 * major + minor
    jobs = [
        job
        for name in arguments.precisions
        for job in list(list_shipped_jobs(capability, name))[: arguments.cases]
    ]
    if arguments.dry_run:
        for job, config, counts in compile_all(jobs, arguments.limit):
            print(f"{describe_job(job)}: {config}: {counts}", flush=True)
        return 0

    entries = []
    for entry in tune_jobs(jobs, tuple(arguments.size), arguments.limit):
        entries.append(entry)
        write_entries(arguments.out, entries)  # as they come: a fault later on costs nothing
    print(f"{len(entries)} of {len(jobs)} cases are faster than by the rules, in {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
