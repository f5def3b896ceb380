"""kernels/tune.py without a GPU: it says so, compiles, checks in the interpreter, writes a table."""

import contextlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "kernels" / "tune.py"


@pytest.fixture
def tune():
    from benchmarks.kernels import tune

    yield tune
    tune.launcher.TUNED.clear()
    tune.launcher._plans.clear()


def run(*arguments):
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_line():
    done = run()
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "tune: there is no CUDA GPU, nothing is timed; --dry-run compiles without one"
    ]


def test_a_dry_run_lists_registers_and_stack_of_each_tiling():
    done = run(
        "--dry-run", "--capability", "86", "--precisions", "fp16", "--cases", "1", "--limit", "2"
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all("3->32 3x3 relu fp16: Config(form='image'" in line for line in lines)
    assert all("'registers': " in line and "'stack': 0" in line for line in lines)


def jobs(tune, precision):
    return list(tune.shipped_jobs(90, precision))


def test_every_case_has_tilings_to_choose_from(tune):
    for job in jobs(tune, "tf32"):
        tilings = tune.propose_tilings(job, 12)
        assert tilings[0] == tune.default(job.case)
        assert len(set(tilings)) == len(tilings) >= 8


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="TRITON_INTERPRET is not 1")
def test_a_tiling_is_checked_before_it_is_timed(tune, monkeypatch):
    job = tune.Job(capability=0, in_channels=16, channels=16, precision="tf32", epilogue="conv1x1")
    monkeypatch.setattr(tune, "CHECKED_SIZE", (3, 18))
    config = replace(tune.default(job.case), num_stages=3)
    assert tune.find_fault(job, config, "cpu") is None
    assert tune.launcher.TUNED[job.case] == config
    tail = tune.Job(
        capability=0, in_channels=20, channels=12, precision="tf32", shuffle=2, separable=True
    )
    assert tune.find_fault(tail, tune.propose_tilings(tail, 3)[-1], "cpu") is None
    wrong = replace(config, form="rows", block_k=8)  # it leaves channels out
    assert "wrong by" in tune.find_fault(job, wrong, "cpu")


def test_each_tiling_is_timed_at_the_working_clock(tune, monkeypatch):
    events = []

    class Event:
        def __init__(self, enable_timing):
            pass

        def record(self):
            events.append("timed")

        def synchronize(self):
            pass

        def elapsed_time(self, other):
            return 1.0

    graph = type("Graph", (), {"replay": lambda self: None})
    monkeypatch.setattr(tune.torch.cuda, "CUDAGraph", graph)
    monkeypatch.setattr(tune.torch.cuda, "graph", lambda graph: contextlib.nullcontext())
    monkeypatch.setattr(tune.torch.cuda, "Event", Event)
    monkeypatch.setattr(tune, "make_call", lambda *_: (lambda: events.append("made"), None, None))
    monkeypatch.setattr(tune, "warm_up", lambda device: events.append("warm"))
    assert tune.time_us(None, None, (2, 2)) == pytest.approx(50.0)
    assert events.index("warm") == events.index("timed") - 1


def test_entries_are_written_as_config_reads_them(tune, tmp_path):
    path = tmp_path / "tilings.json"
    first, second = jobs(tune, "fp16")[:2]
    chosen = {job: tune.propose_tilings(job, 3)[-1] for job in (first, second)}

    def entry(job, **options):
        return {
            "gpu": "made up",
            "us": 1.0,
            "case": job.case._asdict(),
            "config": tune.asdict(chosen[job]),
            **options,
        }

    tune.write_entries(path, [entry(first), entry(second)])
    chosen[first] = tune.propose_tilings(first, 3)[0]
    tune.write_entries(path, [entry(first)])
    assert tune.read_table(path) == {job.case: config for job, config in chosen.items()}
