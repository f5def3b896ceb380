"""Every shipped tile of the Triton kernels compiles with no GPU, and keeps everything in registers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas.ops.span_attention.config import NARROW, WIDE

pytest.importorskip("triton")

SCRIPT = Path(__file__).with_name("ahead_of_time.py")


def _compile(cases, *architectures):
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, SCRIPT, *architectures],
        input=json.dumps(cases), capture_output=True, text=True, check=False,
        env={**environment, "PYTHONPATH": str(SCRIPT.parents[4])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def _cases(table, dtype):
    for kernel, tiles in table.items():
        for padded, (pixels, warps) in tiles.items():
            for layout in ("planes", "rows"):
                yield [kernel, dtype, layout, padded, pixels, padded, warps, 1]


@pytest.mark.slow
@pytest.mark.parametrize(("table", "dtype"), [(WIDE, "fp32"), (NARROW, "fp16")])
def test_shipped_tiles_use_no_stack(table, dtype):
    cases = list(_cases(table, dtype))
    found = _compile(cases, "86", "90")
    assert len(found) == 2 * len(cases)
    assert [line for line in found if line[2] != 0] == []


def test_a_tile_that_spills_is_seen():
    ((_, _, stack, _),) = _compile([["forward", "fp32", "planes", 64, 128, 64, 4, 1]], "86")
    assert stack > 0
