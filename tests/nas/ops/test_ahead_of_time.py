"""Every launch of the spaces compiles with no GPU and keeps everything in registers.

The whole matrix stands in benchmarks/results/stacks.csv, which benchmarks/kernels/stacks.py writes.
Here the table is held to today's kernels and tilings, and a sample of it is compiled again.
"""

import csv
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("triton")

import triton

from benchmarks.kernels.ahead_of_time import Job
from benchmarks.kernels.stacks import (
    SPILLING,
    describe_job,
    fingerprint,
    hash_source,
    list_jobs,
    list_sample,
)
from nas.ops.conv_act import config, triton_kernels

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "benchmarks" / "kernels" / "stacks.py"
WRITE_AGAIN = (
    "write the table again: python benchmarks/kernels/stacks.py --out benchmarks/results/stacks.csv"
)
MEASURED = ("registers", "stack", "shared_bytes", "waits", "roundings")
JOBS = list_jobs()

with (ROOT / "benchmarks" / "results" / "stacks.csv").open(newline="") as file:
    TABLE = [
        row | {name: int(row[name]) for name in (*MEASURED, "capability")}
        for row in csv.DictReader(file)
    ]


@pytest.fixture(scope="module")
def compiled():
    """Compile the sample and what is known to spill, in a process without Triton's interpreter."""
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, SCRIPT, "--sample"],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return rows[: -len(SPILLING)], rows[-len(SPILLING) :]


def test_the_table_is_of_todays_kernels_and_tilings():
    names = ("kernel", "capability", "precision", "launch", "tiling", "fingerprint")
    stored = [{name: row[name] for name in names} for row in TABLE]
    changed = [job for job, row in zip(map(describe_job, JOBS), stored, strict=False) if job != row]
    assert changed[:3] == [], f"{len(changed)} of {len(JOBS)} launches changed: {WRITE_AGAIN}"
    assert len(stored) == len(JOBS), WRITE_AGAIN


def test_no_launch_of_the_table_has_a_stack():
    assert [row for row in TABLE if row["stack"] != 0] == []
    assert len({row["triton"] for row in TABLE}) == 1


def test_a_sample_compiles_to_what_the_table_says(compiled):
    sample, _ = compiled
    assert [row for row in sample if row["stack"] != 0] == []
    fingerprints = [describe_job(job)["fingerprint"] for job in list_sample(JOBS)]
    assert [row["fingerprint"] for row in sample] == fingerprints

    # Another version of Triton gives other registers, but no stack.
    stored = {row["fingerprint"]: row for row in TABLE}
    if triton.__version__ == TABLE[0]["triton"]:
        assert sample == [stored[row["fingerprint"]] for row in sample], WRITE_AGAIN


def test_the_sample_has_every_form_on_every_gpu_and_every_precision():
    sample = [describe_job(job) for job in list_sample(JOBS)]
    for capability in {row["capability"] for row in TABLE}:
        forms = {row["tiling"].split()[0] for row in TABLE
                 if row["capability"] == capability and row["kernel"] == "conv_act"}  # fmt: skip
        assert {
            row["tiling"].split()[0]
            for row in sample
            if row["capability"] == capability and row["kernel"] == "conv_act"
        } == forms
    assert {row["precision"] for row in sample} == {"fp16", "tf32", "fp32"}


def test_a_kernel_that_spills_is_seen(compiled):
    _, spilling = compiled
    assert [row["stack"] > 0 for row in spilling] == [True, True]


def test_every_row_of_the_spills_has_a_launch_in_the_table():
    """What spilled once is compiled in every run of the matrix."""
    for spill in config.SPILLS:
        replaced = [job for job in JOBS if isinstance(job, Job) and _stands_in(spill, job)]
        assert replaced, f"no launch of the matrix has the tiling of {spill}"


def _stands_in(spill, job):
    """Whether a spill's tiling stands in for the usual one of a job."""
    usual = config._tile_usually(job.case)
    return job.config != usual and job.config == replace(usual, **spill.instead)


def test_a_separable_tail_takes_few_registers():
    """The dense one takes 204 on Hopper: one block of it fits a multiprocessor."""
    tails = [row for row in TABLE if "separable" in row["launch"]]
    assert len(tails) == 36
    assert max(row["registers"] for row in tails if row["capability"] in (86, 90)) <= 128


def test_operands_of_tf32_are_rounded_in_the_machine_code():
    def roundings(launch, precision):
        return {
            row["capability"]: row["roundings"]
            for row in TABLE
            if (row["launch"], row["precision"]) == (launch, precision)
        }

    plan = roundings("32->32 3x3 relu", "tf32")
    operator = roundings("32->32 3x3 relu operator", "tf32")
    assert set(plan) == set(operator) == {row["capability"] for row in TABLE}
    for capability, count in plan.items():
        assert 0 < count < operator[capability]
    assert set(roundings("32->32 3x3 relu", "fp16").values()) == {0}


def test_a_plan_waits_for_the_launch_before_it_where_the_gpu_can():
    for row in TABLE:
        plan = row["kernel"] == "conv_act" and "operator" not in row["launch"]
        assert row["waits"] == int(plan and row["capability"] >= 90), row


def _hash_text(folder, name, text):
    """Hash a kernel's source that differs from the shipped one."""
    path = folder / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return hash_source(module)


def test_a_fingerprint_sees_a_statement_but_no_comment(tmp_path):
    """An edited kernel cannot pass with an old table; its prose may be edited."""
    text = Path(triton_kernels.__file__).read_text()
    shipped = hash_source(triton_kernels)
    prose = text.replace("NaN stays NaN", "NaN is kept") + "\n# a comment\n"
    assert prose.count("NaN is kept") > 0
    assert _hash_text(tmp_path, "prose", prose) == shipped

    edited = text.replace("0.05 * f", "0.06 * f")
    assert edited != text
    assert _hash_text(tmp_path, "edited", edited) != shipped


def test_a_fingerprint_sees_tilings_and_launch_options():
    job = Job(capability=90, in_channels=32, channels=32, precision="tf32", epilogue="relu")
    changes = [
        {"plan": False},
        {"precision": "fp16"},
        {"capability": 100},
        {"tiling": {**SPILLING[0].tiling, "num_warps": 8}},
        {"tiling": {**SPILLING[0].tiling, "num_stages": 2}},
    ]
    fingerprints = {fingerprint(replace(job, **change)) for change in changes}
    assert len(fingerprints | {fingerprint(job)}) == 1 + len(changes)


@pytest.mark.parametrize("name", ["conv_act", "span_attention"])
def test_a_kernels_source_is_one_file(name):
    """A function of another file of ours would be missing in the fingerprint."""
    text = (ROOT / "nas" / "ops" / name / "triton_kernels.py").read_text()
    assert "nas" not in {word for line in text.splitlines() if "import" in line
                         for word in line.replace(".", " ").split()}  # fmt: skip
