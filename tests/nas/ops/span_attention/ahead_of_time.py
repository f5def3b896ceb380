"""Compiles the Triton kernels with no GPU, in a process without the interpreter; prints stack and registers.

python ahead_of_time.py CC... < JSON list of [kernel, dtype, layout, channels, pixels, padded, warps, stages]
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

from nas.ops.span_attention import triton_kernels

TOOL = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
POINTERS = {
    "forward": ("x", "f", "weight", "bias", "out"),
    "data": ("grad", "x", "f", "weight", "bias", "dx", "df"),
    "weights": ("grad", "x", "f", "dweight", "dbias"),
    "parameter_free": ("x", "f", "out"),
    "parameter_free_back": ("grad", "x", "f", "dx", "df"),
}


def usage(cc, kernel, dtype, layout, channels, pixels, padded, warps, stages):
    """Stack bytes and registers of one kernel, compiled as a launch on such maps would specialise it."""
    function = getattr(triton_kernels, kernel)
    signature, constants, aligned = {}, {}, []
    for place, name in enumerate(function.arg_names):
        if name in POINTERS[kernel]:
            kind = "fp32" if name in ("dweight", "dbias") else dtype
            signature[name] = f"*{kind}"
            aligned.append(place)
        elif name.isupper():
            signature[name] = "constexpr"
        elif (name.endswith("_pixel") and layout == "planes") or (
            name.endswith("_channel") and layout == "rows"
        ):
            signature[name], constants[name] = "constexpr", 1
        else:
            signature[name] = "i32"
            if name.endswith(("_pixel", "num_channels")) and channels % 16 == 0:
                aligned.append(place)
    precision = "tf32x3" if dtype == "fp32" else "tf32"
    known = {
        "PIXELS": pixels,
        "CHANNELS": padded,
        "BLOCKS": 1,
        "PRECISION": precision,
        "INTERPRET": False,
    }
    constants |= {name: value for name, value in known.items() if name in signature}
    attributes = {(place,): [["tt.divisibility", 16]] for place in aligned}
    source = ASTSource(function, signature, constants, attributes)
    done = triton.compile(
        source,
        GPUTarget("cuda", cc, 32),
        options={"num_warps": warps, "num_stages": stages, "enable_fp_fusion": True},
    )
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernel.cubin"
        cubin.write_bytes(done.asm["cubin"])
        said = subprocess.run(
            [TOOL, "-res-usage", cubin], capture_output=True, text=True, check=True
        )
    found = re.search(r"REG:(\d+) STACK:(\d+)", said.stdout + said.stderr)
    assert found is not None, said.stdout + said.stderr
    return int(found[2]), int(found[1])


if __name__ == "__main__":
    for case in json.load(sys.stdin):
        for cc in sys.argv[1:]:
            print(json.dumps([case, int(cc), *usage(int(cc), *case)]), flush=True)
