"""Does any kernel that our search spaces launch spill registers, on any generation of GPUs?

python benchmarks/kernels/stacks.py [--out benchmarks/results/stacks.csv]
python benchmarks/kernels/stacks.py --sample

Compiles every launch of the matrix with no GPU, on all cores (minutes), and writes a line each. A
line's fingerprint is of all that the compiler is given, the kernel's source included: by it tests
see that the stored table is of today's kernels and tilings. They also compile a sample again. Write
the table anew after a change of a kernel or a tiling. Exits 1 where a kernel has a stack.
"""

import argparse
import ast
import csv
import hashlib
import inspect
import json
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

if __name__ in ("__main__", "__mp_main__"):
    os.environ.pop("TRITON_INTERPRET", None)  # interpreted kernels cannot be compiled

import triton

from benchmarks.kernels import ahead_of_time, attention
from benchmarks.kernels.ahead_of_time import (
    CAPABILITIES,
    PRECISIONS,
    Job,
    Specialised,
    compile_kernel,
    measure_usage,
)
from benchmarks.kernels.attention import AttentionJob
from nas.ops.conv_act import triton_kernels as conv_act_kernels
from nas.ops.span_attention import triton_kernels as attention_kernels
from nas.ops.span_attention.config import NARROW, WIDE

ROWS_OF_TWO = {
    "form": "rows", "height": 2, "width": 64, "block_k": 32, "block_n": 32, "num_warps": 4,
}  # fmt: skip
SPILLING: tuple[Job | AttentionJob, ...] = (  # known to: whoever measures has to see it
    Job(capability=86, in_channels=32, channels=32, epilogue="relu", precision="tf32",
        tiling=ROWS_OF_TWO),
    AttentionJob(capability=86, kernel="forward", precision="fp32", layout="planes", channels=64,
                 pixels=128, num_warps=4),
)  # fmt: skip


def list_jobs() -> list[Job | AttentionJob]:
    """Return the whole matrix: every launch of the published networks and of the spaces."""
    jobs: list[Job | AttentionJob] = []
    for capability in CAPABILITIES:
        for precision in PRECISIONS:
            jobs += _list_spanv2(capability, precision)
            jobs += _list_spaces(capability, precision)
        jobs += _list_attentions(capability)
    return jobs


def _list_spanv2(capability: int, precision: str) -> Iterator[Job]:
    def job(in_channels: int, channels: int, epilogue: str, **options: Any) -> Job:
        return Job(capability=capability, precision=precision, in_channels=in_channels,
                   channels=channels, epilogue=epilogue, **options)  # fmt: skip

    yield job(3, 32, "relu")
    yield job(32, 32, "relu")
    yield job(32, 32, "conv1x1")
    yield job(3, 48, "none")
    yield job(80, 48, "none", shuffle=4, separable=True)
    if precision == "tf32":  # as an operator, whose operands are rounded in the kernel
        yield job(32, 32, "relu", plan=False)
        yield job(32, 32, "conv1x1", plan=False)


def _list_spaces(capability: int, precision: str) -> Iterator[Job]:
    def job(in_channels: int, channels: int, epilogue: str = "none", **options: Any) -> Job:
        return Job(capability=capability, precision=precision, in_channels=in_channels,
                   channels=channels, epilogue=epilogue, **options)  # fmt: skip

    for epilogue in ("none", "gelu", "parameter_free", "diagonal"):
        yield job(32, 32, epilogue)

    # 28 and 52 channels are no whole block: what is masked takes registers.
    for channels in (16, 28, 48, 52):
        for epilogue in ("silu", "conv1x1"):
            yield job(channels, channels, epilogue)
            if precision == "tf32":
                yield job(channels, channels, epilogue, plan=False)
    for in_channels in (28, 32, 80):
        yield job(in_channels, 48, shuffle=4)
    yield job(28, 48, shuffle=4, separable=True)
    yield job(112, 28, kernel=1)
    yield job(20, 32, kernel=1)

    # The image is read by a form of its own, also where a gate follows.
    yield job(3, 28)
    for channels in (32, 48, 64):
        yield job(3, channels, "conv1x1")


def _list_attentions(capability: int) -> Iterator[AttentionJob]:
    for precision, table in (("fp32", WIDE), ("fp16", NARROW)):
        for kernel, tiles in table.items():
            for channels, (pixels, warps) in tiles.items():
                for layout in ("planes", "rows"):
                    yield AttentionJob(capability=capability, kernel=kernel, precision=precision,
                                       layout=layout, channels=channels, pixels=pixels,
                                       num_warps=warps)  # fmt: skip


def list_sample(jobs: Iterable[Job | AttentionJob]) -> list[Job | AttentionJob]:
    """Return a job of each form of each kernel on each GPU.

    Fingerprints choose it: after a change of a kernel the sample is another one, so that it wanders
    over precisions, channels and epilogues.
    """
    sample: dict[tuple[Any, ...], Job | AttentionJob] = {}
    for job in sorted(jobs, key=fingerprint):
        form = job.config.form if isinstance(job, Job) else job.kernel
        sample.setdefault((job.capability, form), job)
    return list(sample.values())


def fingerprint(job: Job | AttentionJob) -> str:
    """Return 12 hexadecimal digits of all that a job gives to the compiler, of whatever version."""
    source = hash_source(conv_act_kernels if isinstance(job, Job) else attention_kernels)
    given = [source, job.capability, *_specialise(job)]
    return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:12]


@cache
def hash_source(module: ModuleType) -> str:
    """Return a hash of a module's statements: comments, docstrings and line breaks do not count."""
    tree = ast.parse(inspect.getsource(module))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [line for line in body if not _is_text(line)]
            node.body = kept  # type: ignore[attr-defined]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


def _is_text(statement: ast.AST) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _specialise(job: Job | AttentionJob) -> Specialised:
    return ahead_of_time.specialise(job) if isinstance(job, Job) else attention.specialise(job)


def measure_job(job: Job | AttentionJob) -> dict[str, Any]:
    """Compile a job and return its line of the table."""
    name = "conv_act_kernel" if isinstance(job, Job) else job.kernel
    module = conv_act_kernels if isinstance(job, Job) else attention_kernels
    compiled = compile_kernel(getattr(module, name), _specialise(job), job.capability)
    return {**describe_job(job), "triton": triton.__version__, **measure_usage(compiled)}


def describe_job(job: Job | AttentionJob) -> dict[str, Any]:
    """Return the columns of a line that name its job, with the fingerprint."""
    if isinstance(job, Job):
        parts = [f"{job.in_channels}->{job.channels} {job.kernel}x{job.kernel} {job.epilogue}"]
        parts += [f"shuffle{job.shuffle}"] * bool(job.shuffle) + ["separable"] * job.separable
        parts += [] if job.plan else ["operator"]
        config = job.config
        tiling = f"{config.form} {config.height}x{config.width} k{config.block_k} n{config.block_n}"
        tiling += f" warps{config.num_warps}"
        kernel = "conv_act"
    else:
        parts, kernel = [f"{job.channels} {job.layout}"], job.kernel
        tiling = f"{job.pixels}x{job.channels} warps{job.num_warps}"
    return {
        "kernel": kernel, "capability": job.capability, "precision": job.precision,
        "launch": " ".join(parts), "tiling": tiling, "fingerprint": fingerprint(job),
    }  # fmt: skip


def write_table(path: Path | None) -> int:
    """Compile the whole matrix, print the kernels that have a stack, and return their number."""
    jobs = list_jobs()
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("spawn")) as pool:
        rows = list(pool.map(measure_job, jobs, chunksize=4))
    spilling = [row for row in rows if row["stack"] > 0]
    for row in spilling:
        print(",".join(str(value) for value in row.values()))
    print(f"{len(spilling)} of {len(rows)} kernels have a stack, under Triton {triton.__version__}")
    if path is not None:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return len(spilling)


def main() -> None:
    """Write the table, or print the sample."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="a CSV table, written whole")
    parser.add_argument(
        "--sample", action="store_true", help="print a sample and two kernels that spill, as JSON"
    )
    arguments = parser.parse_args()
    if arguments.sample:
        for job in (*list_sample(list_jobs()), *SPILLING):
            print(json.dumps(measure_job(job)), flush=True)
    elif write_table(arguments.out):
        sys.exit(1)


if __name__ == "__main__":
    main()
