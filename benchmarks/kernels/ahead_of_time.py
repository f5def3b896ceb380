"""What the kernel of conv_act compiles to with no GPU: registers, stack, instructions, bytes.

python benchmarks/kernels/ahead_of_time.py [--capabilities 80 86 89 90 100 120] [--out FILE.csv]
python benchmarks/kernels/ahead_of_time.py --jobs < JSON list of jobs     (a line of JSON each, in order)

Works on older checkouts too (PYTHONPATH=CHECKOUT): that is how two revisions stand in one table.
"""

import argparse
import csv
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

if __name__ in ("__main__", "__mp_main__"):
    os.environ.pop("TRITON_INTERPRET", None)  # interpreted kernels cannot be compiled

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from nas.ops.conv_act import ATTENTIONS, GATED
from nas.ops.conv_act.config import Case, Config, choose, reads_image
from nas.ops.conv_act.triton_kernels import conv_act_kernel

CAPABILITIES = (80, 86, 89, 90, 100, 120)
PRECISIONS = ("fp16", "tf32", "fp32")
TOOL = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
COUNTED = {  # what of the machine code is counted, by the start of its name
    "mma": r"(HMMA|HGMMA|QGMMA|UTCHMMA|OMMA)",
    "loads": r"(LDG|LDGSTS|UTMALDG)",
    "stores": r"STG",
    "asynchronous": r"(LDGSTS|UTMALDG)",
    "shared_accesses": r"(LDS|STS|LDSM|STSM)",
    "spills": r"(LDL|STL)",
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """A launch to compile.

    Attributes:
        capability: of the GPU, such as 90.
        precision: `fp16`, `tf32` or `fp32` (exact products).
        separable: the kernel is that of a depthwise convolution before a 1x1 one.
        shuffle: scale of a pixel shuffle in the store, or 0.
        plan: as a merged plan launches it, operands rounded beforehand; else as the operator does.
        reads, writes: the dtypes of the maps, `fp16` or `fp32`; by default the weight's.
        tiling: fields of a `Config`; None: the one that is shipped.
    """

    capability: int
    in_channels: int
    channels: int
    precision: str
    epilogue: str = "none"
    kernel: int = 3
    shuffle: int = 0
    separable: bool = False
    plan: bool = True
    reads: str | None = None
    writes: str | None = None
    tiling: dict[str, Any] | None = None

    @property
    def case(self) -> Case:
        known = {
            "in_channels": self.in_channels,
            "channels": self.channels,
            "kernel": self.kernel,
            "item_bytes": 2 if self.precision == "fp16" else 4,
            "epilogue": "pixel_shuffle" if self.shuffle else self.epilogue,
            "image": reads_image(self.in_channels, self.kernel),
            "strict": self.precision == "fp32",
            "separable": self.separable,
            "hopper": self.capability == 90,
            "capability": self.capability,
        }
        return Case(**{name: value for name, value in known.items() if name in Case._fields})

    @property
    def config(self) -> Config:
        return Config(**self.tiling) if self.tiling else choose(self.case)


def compile_job(job: Job) -> Any:
    """The kernel as a launch on aligned maps would specialise it."""
    case, config = job.case, job.config
    pointers = _pointers(job, case)
    constants = _constants(job, case, config) | {
        name: None for name, pointer in pointers.items() if pointer is None
    }
    constants = {
        name: value for name, value in constants.items() if name in conv_act_kernel.arg_names
    }
    signature = {
        name: "constexpr" if name in constants else pointers.get(name) or "i32"
        for name in conv_act_kernel.arg_names
    }
    aligned = [place for place, name in enumerate(signature) if signature[name].startswith("*")]
    source = ASTSource(
        conv_act_kernel,
        signature,
        constants,
        {(place,): [["tt.divisibility", 16]] for place in aligned},
    )
    options = {
        "num_warps": config.num_warps,
        "num_stages": getattr(config, "num_stages", 1),
        "enable_fp_fusion": True,
        "launch_pdl": _overlaps(job) and "OVERLAP" in conv_act_kernel.arg_names,
    }
    return triton.compile(source, GPUTarget("cuda", job.capability, 32), options=options)


def _overlaps(job: Job) -> bool:
    return job.plan and job.capability >= 90


def _pointers(job: Job, case: Case) -> dict[str, str | None]:
    kind = "*fp16" if job.precision == "fp16" else "*fp32"
    reads, writes = (f"*{name}" if name else kind for name in (job.reads, job.writes))
    gate = kind if job.epilogue in GATED and not job.shuffle else None
    return {
        "x": "*fp32" if case.image else reads,
        "depth": "*fp32" if job.separable else None,
        "weight": kind,
        "bias": kind,
        "skip": reads if job.epilogue in ATTENTIONS and not job.shuffle else None,
        "gate_weight": gate,
        "gate_bias": gate,
        "mean": "*fp32" if case.image else None,
        "out": "*fp32" if job.shuffle else writes,
    }


def _constants(job: Job, case: Case, config: Config) -> dict[str, Any]:
    rounds = job.precision == "tf32"
    return {
        "CIN": case.in_channels, "COUT": case.channels, "KERNEL": case.kernel,
        "EPILOGUE": "none" if job.shuffle else job.epilogue,
        "X_PITCH": 0 if case.image else case.in_channels, "X_OFFSET": 0,
        "SKIP_PITCH": case.channels if job.epilogue in ATTENTIONS else 0, "SKIP_OFFSET": 0,
        "OUT_PITCH": 0 if job.shuffle else case.channels, "OUT_OFFSET": 0,
        "SHUFFLE": job.shuffle, "PRECISION": "tf32x3" if case.strict else "tf32",
        "ROUND_X": rounds and not job.plan and not case.image and job.reads != "fp16",
        "ROUND_WEIGHT": rounds and not job.plan,
        "ROUND_OUT": rounds and job.plan and not job.shuffle and job.writes != "fp16",
        "OVERLAP": _overlaps(job),
        "FORM": config.form, "BLOCK_H": config.height, "BLOCK_W": config.width,
        "BLOCK_K": config.block_k, "BLOCK_N": config.block_n,
    }  # fmt: skip


def measure_kernel(kernel: Any) -> dict[str, int]:
    """Registers, bytes of stack and shared memory, and instructions by kind."""
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernel.cubin"
        cubin.write_bytes(kernel.asm["cubin"])
        usage, code = (_dump(option, cubin) for option in ("-res-usage", "-sass"))
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    assert found is not None, usage
    names = re.findall(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?([A-Z][\w.]*)", code, re.MULTILINE)
    names = [name for name in names if name != "NOP"]
    counts = Counter(
        kind for name in names for kind, start in COUNTED.items() if re.match(start, name)
    )
    return {
        "registers": int(found[1]),
        "stack": int(found[2]),
        "shared_bytes": kernel.metadata.shared,
        "waits": kernel.asm["ptx"].count("griddepcontrol.wait"),
        "roundings": kernel.asm["ptx"].count("cvt.rna.tf32"),
        "instructions": len(names),
        **{kind: counts[kind] for kind in COUNTED},
    }


def _dump(option: str, cubin: Path) -> str:
    done = subprocess.run([TOOL, option, cubin], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def bytes_a_pixel(job: Job) -> int:
    """The bytes of maps that a launch has to read and write for a pixel, each once."""
    item = {"fp16": 2, None: 2 if job.precision == "fp16" else 4}
    reads, writes = item.get(job.reads, 4), item.get(job.writes, 4)
    image = reads_image(job.in_channels, job.kernel)
    skip = job.channels * reads if job.epilogue in ATTENTIONS and not job.shuffle else 0
    return (
        job.in_channels * (4 if image else reads)
        + skip
        + job.channels * (4 if job.shuffle else writes)
    )


def products_a_pixel(job: Job) -> int:
    """The multiply-accumulates that a launch forms for a pixel, those with its padding included."""
    config, taps = job.config, job.kernel**2
    outputs = -(-job.channels // config.block_n) * config.block_n
    inputs = -(-job.in_channels // config.block_k) * config.block_k
    gate = config.block_n**2 if job.epilogue == "conv1x1" else 0
    if config.form == "image":
        return config.block_k * outputs + gate
    if config.form == "separable":
        return inputs * (taps + outputs) + gate
    return taps * inputs * outputs + gate


def shipped_jobs(capability: int, precision: str) -> Iterator[Job]:
    """The launches of the published SPANV2, SPAN and SPANF."""

    def job(in_channels: int, channels: int, epilogue: str = "none", **options: Any) -> Job:
        return Job(
            capability=capability, in_channels=in_channels, channels=channels, precision=precision,
            epilogue=epilogue, **options,
        )  # fmt: skip

    yield from (job(3, 32, "relu"), job(32, 32, "relu"), job(32, 32, "conv1x1"), job(3, 48))
    yield job(80, 48, shuffle=4, separable="depth" in conv_act_kernel.arg_names)
    yield from (
        job(3, 28),
        job(28, 28, "silu"),
        job(28, 28, "parameter_free"),
        job(112, 28, kernel=1),
    )
    yield from (job(28, 48, shuffle=4), job(32, 32, "parameter_free"), job(32, 48, shuffle=4))


def write_table(path: Path | None, capabilities: list[int], revision: str) -> None:
    """One line a launch, as it is compiled; after the rows of other revisions where the file has some."""
    rows: list[dict[str, Any]] = []
    if path is not None and path.exists():
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["revision"] != revision]
    jobs = [job for cc in capabilities for name in PRECISIONS for job in shipped_jobs(cc, name)]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("spawn")) as pool:
        for row in pool.map(_row, jobs, [revision] * len(jobs)):
            rows.append(row)
            print(",".join(str(value) for value in row.values()), flush=True)
    if path is not None:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[-1]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def _row(job: Job, revision: str) -> dict[str, Any]:
    fields = {
        name: value
        for name, value in asdict(job).items()
        if name not in ("tiling", "plan", "reads", "writes")
    }
    config = job.config
    tiling = f"{config.form} {config.height}x{config.width} k{config.block_k} n{config.block_n}"
    tiling += f" warps{config.num_warps} stages{getattr(config, 'num_stages', 1)}"
    counts = measure_kernel(compile_job(job))
    needs = {"bytes_a_pixel": bytes_a_pixel(job), "products_a_pixel": products_a_pixel(job)}
    return {"revision": revision, **fields, "tiling": tiling, **counts, **needs}


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--capabilities", type=int, nargs="+", default=list(CAPABILITIES), metavar="CC"
    )
    parser.add_argument("--out", type=Path, help="a CSV table; rows of other revisions in it stay")
    parser.add_argument("--revision", default="here", help="what the rows are called")
    parser.add_argument("--jobs", action="store_true", help="read jobs from the standard input")
    return parser.parse_args()


if __name__ == "__main__":
    arguments = _parse()
    if arguments.jobs:
        for given in json.load(sys.stdin):
            told = Job(**given)
            compiled = compile_job(told)
            print(
                json.dumps({**given, "form": told.config.form, **measure_kernel(compiled)}),
                flush=True,
            )
    else:
        write_table(arguments.out, arguments.capabilities, arguments.revision)
