"""The tilings that the rules choose compile with no GPU, and keep everything in registers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

ROOT = Path(__file__).parents[4]
SCRIPT = ROOT / "benchmarks" / "kernels" / "ahead_of_time.py"
PRECISIONS = ("fp16", "tf32", "fp32")
USUAL_GPUS = (86, 90)
OTHER_GPUS = (80, 89, 100, 120)


def compile_all(jobs):
    """What each job compiles to, as `ahead_of_time.measure_kernel` gives it."""
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, SCRIPT, "--jobs"],
        input=json.dumps(jobs),
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(jobs)
    return found


def job(capability, in_channels, channels, epilogue, precision, **options):
    return {
        "capability": capability, "in_channels": in_channels, "channels": channels, "epilogue": epilogue,
        "precision": precision, **options,
    }  # fmt: skip


def of_spanv2(capability, precision):
    yield job(capability, 3, 32, "relu", precision)
    yield job(capability, 32, 32, "relu", precision)
    yield job(capability, 32, 32, "conv1x1", precision)
    yield job(capability, 3, 48, "none", precision)
    yield job(capability, 80, 48, "none", precision, shuffle=4, separable=True)
    if precision == "tf32":  # as an operator, whose operands are rounded in the kernel
        yield job(capability, 32, 32, "conv1x1", precision, plan=False)


def of_the_spaces(capability, precision):
    for epilogue in ("none", "gelu", "parameter_free", "diagonal"):
        yield job(capability, 32, 32, epilogue, precision)
    for channels in (16, 28, 48, 52):
        for epilogue in ("silu", "conv1x1"):
            yield job(capability, channels, channels, epilogue, precision)
            if precision == "tf32":
                yield job(capability, channels, channels, epilogue, precision, plan=False)
    yield job(capability, 28, 48, "none", precision, shuffle=4)
    yield job(capability, 80, 48, "none", precision, shuffle=4)
    yield job(capability, 28, 48, "none", precision, shuffle=4, separable=True)
    yield job(capability, 112, 28, "none", precision, kernel=1)
    yield job(capability, 20, 32, "none", precision, kernel=1)
    yield job(capability, 3, 28, "none", precision)


def spilled(found):
    return [line for line in found if line["stack"] > 0]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_spanv2_needs_no_stack(precision):
    assert spilled(compile_all([j for cc in USUAL_GPUS for j in of_spanv2(cc, precision)])) == []


def test_an_upsampler_of_masked_channels_needs_no_stack():
    """28 channels are no whole block: with four rows it spilled on compute capability 8.0."""
    jobs = [job(80, channels, 48, "none", "tf32", shuffle=4) for channels in (28, 32)]
    assert spilled(compile_all(jobs)) == []


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_image_with_a_gate_needs_no_stack(precision):
    jobs = [
        job(cc, 3, channels, "conv1x1", precision) for cc in USUAL_GPUS for channels in (32, 48, 64)
    ]
    assert spilled(compile_all(jobs)) == []


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("capability", [*USUAL_GPUS, *OTHER_GPUS])
def test_the_spaces_need_no_stack(capability, precision):
    assert spilled(compile_all(list(of_the_spaces(capability, precision)))) == []


@pytest.mark.slow
@pytest.mark.parametrize("capability", OTHER_GPUS)
def test_spanv2_needs_no_stack_on_other_gpus(capability):
    jobs = [j for precision in PRECISIONS for j in of_spanv2(capability, precision)]
    assert spilled(compile_all(jobs)) == []


@pytest.mark.parametrize("capability", [86, 90])
def test_a_separable_tail_takes_few_registers(capability):
    """The dense one takes 204 on Hopper: one block of it fits a multiprocessor."""
    tails = compile_all([
        job(capability, inner, 48, "none", precision, shuffle=4, separable=True)
        for precision in PRECISIONS for inner in (28, 80)
    ])  # fmt: skip
    assert spilled(tails) == []
    assert max(tail["registers"] for tail in tails) <= 128


def test_a_tiling_that_spills_is_seen():
    tiling = {
        "form": "rows",
        "height": 2,
        "width": 64,
        "block_k": 32,
        "block_n": 32,
        "num_warps": 4,
    }
    assert spilled(compile_all([job(86, 32, 32, "relu", "tf32", tiling=tiling)]))


def test_operands_of_tf32_are_rounded_in_the_machine_code():
    plan, operator, exact = compile_all([
        job(86, 32, 32, "relu", "tf32"),
        job(86, 32, 32, "relu", "tf32", plan=False),
        job(86, 32, 32, "relu", "fp16"),
    ])  # fmt: skip
    assert exact["roundings"] == 0 < plan["roundings"] < operator["roundings"]


@pytest.mark.parametrize("precision", ["fp16", "tf32"])
def test_a_plan_waits_for_the_launch_before_it_where_the_gpu_can(precision):
    jobs = [
        job(cc, *case, precision)
        for cc in (86, 90, 120)
        for case in ((3, 32, "relu"), (32, 32, "conv1x1"))
    ]
    jobs.append(job(90, 80, 48, "none", precision, shuffle=4, separable=True))
    jobs.append(job(90, 32, 32, "relu", precision, plan=False))
    assert [found["waits"] for found in compile_all(jobs)] == [0, 0, 1, 1, 1, 1, 1, 0]
