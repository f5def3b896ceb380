# ruff: noqa: E501 - long lists of operands, one case or call a line
"""The tilings that the rules choose compile with no GPU, and keep everything in registers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas.ops.conv_act.config import Case

pytest.importorskip("triton")

SCRIPT = Path(__file__).with_name("ahead_of_time.py")
PRECISIONS = {"fp16": (2, False), "tf32": (4, False), "strict": (4, True)}
GPUS = (86, 90)


def compile_all(jobs):
    """Lines of [cc, case, form, height, stack, registers, shared]."""
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment |= {"PYTHONPATH": str(SCRIPT.parents[4]), "TRITON_DEFAULT_FP_FUSION": "1"}
    done = subprocess.run(
        [sys.executable, SCRIPT],
        input=json.dumps(jobs),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(jobs)
    return found


def job(cc, in_channels, channels, epilogue, precision, *, kernel=3, shuffle=0, tiling=None):
    item_bytes, strict = PRECISIONS[precision]
    case = Case(
        in_channels=in_channels, channels=channels, kernel=kernel, item_bytes=item_bytes, image=in_channels == 3,
        epilogue="pixel_shuffle" if shuffle else epilogue, strict=strict, hopper=cc == 90,
    )  # fmt: skip
    return [cc, case, tiling, shuffle]


def of_spanv2(cc, precision):
    yield job(cc, 3, 32, "relu", precision)
    yield job(cc, 32, 32, "relu", precision)
    yield job(cc, 32, 32, "conv1x1", precision)
    yield job(cc, 3, 48, "none", precision)
    yield job(cc, 80, 48, "none", precision, shuffle=4)


def of_the_spaces(cc, precision):
    yield from (job(cc, 32, 32, e, precision) for e in ("none", "gelu", "parameter_free", "diagonal"))
    for channels in (16, 28, 48, 52):
        yield from (job(cc, channels, channels, e, precision) for e in ("silu", "conv1x1"))
    yield job(cc, 28, 48, "none", precision, shuffle=4)
    yield job(cc, 112, 28, "none", precision, kernel=1)
    yield job(cc, 20, 32, "none", precision, kernel=1)
    yield job(cc, 3, 28, "none", precision)


def spilled(found):
    return [line for line in found if line[4] > 0]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_spanv2_needs_no_stack(precision):
    assert spilled(compile_all([j for cc in GPUS for j in of_spanv2(cc, precision)])) == []


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_image_with_a_gate_needs_no_stack(precision):
    jobs = [job(cc, 3, channels, "conv1x1", precision) for cc in GPUS for channels in (32, 48, 64)]
    assert spilled(compile_all(jobs)) == []


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("cc", GPUS)
def test_the_spaces_need_no_stack(cc, precision):
    assert spilled(compile_all(list(of_the_spaces(cc, precision)))) == []


def test_a_tiling_that_spills_is_seen():
    tiling = {"form": "rows", "height": 2, "width": 64, "block_k": 32, "block_n": 32, "num_warps": 4}
    assert spilled(compile_all([job(86, 32, 32, "relu", "tf32", tiling=tiling)]))
