# ruff: noqa: E501 - long lists of operands, one case or call a line
"""Compiles the Triton kernel with no GPU, in a process without the interpreter; prints stack and registers.

python ahead_of_time.py < JSON list of [compute capability, case, tiling or null, scale of a pixel shuffle]
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from nas.ops.conv_act import ATTENTIONS, GATED
from nas.ops.conv_act.config import Case, Config, choose
from nas.ops.conv_act.triton_kernels import conv_act_kernel

TOOL = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"


def compiled(cc, case, config, shuffle):
    """The kernel as a launch on aligned maps would specialise it."""
    kind, image = {2: "*fp16", 4: "*fp32"}[case.item_bytes], "*fp32"
    epilogue = "none" if shuffle else case.epilogue
    gate = kind if epilogue in GATED else None
    skip = kind if epilogue in ATTENTIONS else None
    known = {
        "x": image if case.image else kind, "weight": kind, "bias": kind, "skip": skip, "gate_weight": gate,
        "gate_bias": gate, "mean": image if case.image else None, "out": image if shuffle else kind,
    }  # fmt: skip
    values = {
        "CIN": case.in_channels, "COUT": case.channels, "KERNEL": case.kernel, "EPILOGUE": epilogue,
        "X_PITCH": 0 if case.image else case.in_channels, "X_OFFSET": 0,
        "SKIP_PITCH": case.channels if skip else 0, "SKIP_OFFSET": 0,
        "OUT_PITCH": 0 if shuffle else case.channels, "OUT_OFFSET": 0,
        "SHUFFLE": shuffle, "PRECISION": "tf32x3" if case.strict else "tf32", "FORM": config.form,
        "BLOCK_H": config.height, "BLOCK_W": config.width, "BLOCK_K": config.block_k, "BLOCK_N": config.block_n,
    }  # fmt: skip
    values |= {name: None for name, pointer in known.items() if pointer is None}
    signature = {
        name: "constexpr" if name in values else known.get(name) or "i32"
        for name in conv_act_kernel.arg_names
    }
    aligned = [place for place, name in enumerate(signature) if signature[name].startswith("*")]
    source = ASTSource(
        conv_act_kernel, signature, values, {(place,): [["tt.divisibility", 16]] for place in aligned}
    )
    options = {"num_warps": config.num_warps, "num_stages": 1}
    return triton.compile(source, GPUTarget("cuda", cc, 32), options=options)


def usage(kernel):
    """Stack bytes, registers, and bytes of shared memory."""
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernel.cubin"
        cubin.write_bytes(kernel.asm["cubin"])
        said = subprocess.run([TOOL, "-res-usage", cubin], capture_output=True, text=True, check=True)
    found = re.search(r"REG:(\d+) STACK:(\d+)", said.stdout + said.stderr)
    assert found is not None, said.stdout + said.stderr
    return int(found[2]), int(found[1]), kernel.metadata.shared


if __name__ == "__main__":
    for cc, fields, tiling, shuffle in json.load(sys.stdin):
        case = Case(*fields)
        config = Config(**tiling) if tiling else choose(case)
        kernel = compiled(cc, case, config, shuffle)
        print(json.dumps([cc, case, config.form, config.height, *usage(kernel)]), flush=True)
