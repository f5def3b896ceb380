"""Times tilings of conv_act on this GPU, each checked first, and writes the fastest to what `config` reads.

python benchmarks/kernels/tune.py [--precisions fp16 tf32] [--size 339 510] [--limit 12] [--out TABLE.json]
python benchmarks/kernels/tune.py --dry-run [--capability 90]    (no GPU: registers and stack of tilings)

Tilings are compiled and checked by a process each, on all cores; they are timed alone, one after the other.
An entry of another GPU or case in the table stays. Exits 2 where there is no GPU.
"""

import argparse
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

if __name__ in ("__main__", "__mp_main__"):
    os.environ.pop("TRITON_INTERPRET", None)  # what is timed is compiled

import torch
from torch.nn import functional as F

from benchmarks.kernels.ahead_of_time import Job, compile_job, measure_kernel, shipped_jobs
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
    """The rules' own tiling first, then others, at most `limit` in all."""
    case, first = job.case, default(job.case)
    proposed = [first]
    if case.image:
        shapes = itertools.product((8, 4, 16), (16, 32), (4, 8))
        proposed += [replace(first, height=h, width=w, num_warps=n) for h, w, n in shapes]
    elif case.separable:
        shapes = itertools.product((4, 8, 2, 16), (16, 32), (4, 8))
        proposed += [replace(first, height=h, width=w, num_warps=n) for h, w, n in shapes]
    else:
        proposed += _propose_for_maps(case, first)
    return list(dict.fromkeys(proposed))[:limit]


def _propose_for_maps(case: Case, first: Config) -> Iterator[Config]:
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


def make_call(
    job: Job, config: Config, size: tuple[int, int], device: str
) -> tuple[Callable[[], Any], Any, Any]:
    """A launch of the job under a tiling.

    Returns:
        The launch, what it writes to, and what it should write, in float64; the last is a function.
    """
    generator = torch.Generator().manual_seed(0)
    dtype, prepare = (
        DTYPES[job.precision],
        round_to_tf32 if job.precision == "tf32" else lambda value: value,
    )

    def normal(*shape: int, scale: float = 1.0) -> Any:
        return prepare((scale * torch.randn(shape, generator=generator)).to(dtype)).to(device)

    channels, inner, kernel = job.channels, job.in_channels, 1 if job.separable else job.kernel
    taps = torch.randn(job.kernel, job.kernel, inner, generator=generator).to(device) / job.kernel
    depth = taps if job.separable else None
    x = normal(1, inner, *size).contiguous(memory_format=LAST)
    weight = launcher.pack(
        normal(channels, inner, kernel, kernel, scale=(inner * kernel**2) ** -0.5)
    )
    bias, epilogue = normal(channels), "none" if job.shuffle else job.epilogue
    skip = (
        normal(1, channels, *size).contiguous(memory_format=LAST)
        if epilogue in ATTENTIONS
        else None
    )
    gate: list[Any] = [None, None]
    if epilogue in GATED:
        gate = [
            normal(channels, channels if epilogue == "conv1x1" else 1, 1, 1, scale=0.2),
            normal(channels),
        ]
    out = torch.full_like(reference(x, weight, bias, "none", None, None, None), torch.nan)
    if job.shuffle:
        out = torch.pixel_shuffle(out, job.shuffle).float().contiguous()

    def call() -> None:
        launcher.tune({job.case: config})
        launcher.launch(
            x, weight, bias, epilogue, out=out, skip=skip, gate_weight=gate[0], gate_bias=gate[1],
            depth=depth, shuffle=job.shuffle, precision="tf32x3" if job.precision == "fp32" else "tf32",
            rounding=Rounding(x=False, weight=False, out=True),
        )  # fmt: skip

    def wanted() -> Any:
        given = [
            value.double() if value is not None else None
            for value in (x, weight, bias, skip, *gate)
        ]
        if depth is not None:
            one_by_one = taps.double().permute(2, 0, 1)[:, None]
            given[0] = F.conv2d(given[0], one_by_one, padding=job.kernel // 2, groups=inner)
        exact = reference(*given[:3], epilogue, *given[3:])
        return torch.pixel_shuffle(exact, job.shuffle) if job.shuffle else exact

    return call, out, wanted


def find_fault(job: Job, config: Config, device: str) -> str | None:
    """Compile a tiling, run it once on poisoned maps, and say what is wrong; None: it is right."""
    try:
        call, out, wanted = make_call(job, config, CHECKED_SIZE, device)
        call()
        exact = wanted()
        error = ((out.double() - exact).norm() / exact.norm()).item()
    except Exception as fault:  # of the compiler or the GPU: this tiling alone is out
        return f"{type(fault).__name__}: {(str(fault).splitlines() or [''])[0]}"
    return (
        None
        if error <= LIMITS[job.precision]
        else f"wrong by {error:.2g} of {LIMITS[job.precision]:g}"
    )


def time_us(job: Job, config: Config, size: tuple[int, int]) -> float:
    """The median time of a launch in a CUDA graph, in turn on several sets of maps."""
    calls = [make_call(job, config, size, "cuda")[0] for _ in range(SETS)]
    for call in calls:
        call()
    graph, repeats = torch.cuda.CUDAGraph(), 5
    with torch.cuda.graph(graph):
        for _ in range(repeats):
            for call in calls:
                call()
    warm_up(
        torch.device("cuda")
    )  # maps were made on the CPU: at an idle clock the first, the rules', loses
    times = []
    for _ in range(25):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(1e3 * start.elapsed_time(end) / (repeats * SETS))
    return median(times[5:])


def tune(jobs: list[Job], size: tuple[int, int], limit: int) -> Iterator[dict[str, Any]]:
    """Time what is right of each job's tilings; give an entry where one is clearly faster than the rules'."""
    tilings = {job: propose_tilings(job, limit) for job in jobs}
    tasks = [(job, config, "cuda") for job in jobs for config in tilings[job]]
    faults = {(job, config): fault for (job, config, _), fault in _on_all_cores(find_fault, tasks)}
    for job in jobs:
        times = {}
        for config in tilings[job]:
            fault = faults[job, config]
            if fault is None:
                times[config] = time_us(job, config, size)
            print(f"{describe(job)}: {config}: {fault or f'{times[config]:.1f} us'}", flush=True)
        if not times:
            continue
        best = min(times, key=lambda config: times[config])
        usual = times.get(default(job.case))
        if usual is None or times[best] < WORTH_IT * usual:
            yield {
                "gpu": torch.cuda.get_device_name(), "size": list(size), "us": round(times[best], 2),
                "rules_us": usual and round(usual, 2), "case": job.case._asdict(), "config": asdict(best),
            }  # fmt: skip


def compile_all(jobs: list[Job], limit: int) -> Iterator[tuple[Job, Config, dict[str, int] | str]]:
    """Compile the tilings of each job with no GPU; give registers, stack and so on, or why one does not."""
    tasks = [(job, config) for job in jobs for config in propose_tilings(job, limit)]
    for (job, config), found in _on_all_cores(_measure, tasks):
        yield job, config, found


def _measure(job: Job, config: Config) -> dict[str, int] | str:
    try:
        return measure_kernel(compile_job(replace(job, tiling=asdict(config))))
    except Exception as fault:  # of the compiler: this tiling alone is out
        return f"{type(fault).__name__}: {(str(fault).splitlines() or [''])[0]}"


def _on_all_cores(function: Callable[..., Any], tasks: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Each task in a process of its own, as it ends: a fault on the GPU ends the process that met it."""
    workers = min(len(os.sched_getaffinity(0)), len(tasks))
    with ProcessPoolExecutor(workers, get_context("spawn"), max_tasks_per_child=1) as pool:
        running = {pool.submit(function, *task): task for task in tasks}
        for done in as_completed(running):
            error = done.exception()
            yield running[done], f"{type(error).__name__}: {error}" if error else done.result()


def write_entries(path: Path, entries: list[dict[str, Any]]) -> None:
    """Put entries into a table, in the place of those of the same case; other cases stay."""
    cases = [entry["case"] for entry in entries]
    before = json.loads(path.read_text()) if path.exists() else []
    kept = [entry for entry in before if entry["case"] not in cases]
    lines = ",\n".join(json.dumps(entry, allow_nan=False) for entry in [*kept, *entries])
    new = path.with_suffix(".new")
    new.write_text(f"[\n{lines}\n]\n" if lines else "[]\n")
    read_table(new)
    new.replace(path)


def describe(job: Job) -> str:
    what = "separable " * job.separable
    what += f"shuffle {job.shuffle}" if job.shuffle else job.epilogue
    return f"{job.in_channels}->{job.channels} {job.kernel}x{job.kernel} {what} {job.precision}"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--precisions", nargs="+", choices=DTYPES, default=["fp16", "tf32"])
    parser.add_argument("--size", type=int, nargs=2, default=(339, 510), metavar=("H", "W"))
    parser.add_argument("--limit", type=int, default=12, help="tilings a case")
    parser.add_argument("--cases", type=int, help="only the first so many of each precision")
    parser.add_argument("--out", type=Path, default=TABLE)
    parser.add_argument("--dry-run", action="store_true", help="compile only, with no GPU")
    parser.add_argument(
        "--capability", type=int, default=90, help="of the GPU that a dry run compiles for"
    )
    return parser.parse_args()


def main() -> int:
    arguments = _parse()
    if not arguments.dry_run and not torch.cuda.is_available():
        print(
            "tune: there is no CUDA GPU, nothing is timed; --dry-run compiles without one",
            file=sys.stderr,
        )
        return 2
    capability = arguments.capability
    if not arguments.dry_run:
        major, minor = torch.cuda.get_device_capability()
        capability = 10 * major + minor
    jobs = [
        job
        for name in arguments.precisions
        for job in list(shipped_jobs(capability, name))[: arguments.cases]
    ]
    if arguments.dry_run:
        for job, config, found in compile_all(jobs, arguments.limit):
            print(f"{describe(job)}: {config}: {found}", flush=True)
        return 0
    entries = []
    for entry in tune(jobs, tuple(arguments.size), arguments.limit):
        entries.append(entry)
        write_entries(arguments.out, entries)  # as they come: a fault later on costs nothing
    print(f"{len(entries)} of {len(jobs)} cases are faster than by the rules, in {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
