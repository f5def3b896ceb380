"""benchmarks/gpu/gpu.py: starts with torch and numpy alone, loses nothing to a bad section, fits its time."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import checks, figures, gpu, steps, timing
from benchmarks.gpu.rows import Check, Figure, Given, Outcome, read, table, write
from benchmarks.gpu.sections import SECTIONS, SESSIONS, Command, Section
from benchmarks.shared.paths import ROOT
from nas.measure.latency.rounds import Block

SCRIPT = ROOT / "benchmarks" / "gpu" / "gpu.py"
MISSING = (
    "optuna", "hydra", "omegaconf", "yaml", "plotly", "pandas", "PIL", "skimage", "scipy", "rich",
    "safetensors", "onnx", "onnxruntime", "fvcore",
)  # fmt: skip
BAD_SECTIONS = """
import ctypes, os, signal, subprocess, sys, time
from benchmarks.gpu.rows import Check, Fact, Figure

def _first(given):
    yield Figure(name="first", value=2.0, demand=1.0)

def fine(given):
    yield from _first(given)
    yield Fact(name="weights", value=str(given.weights))

def raises(given):
    yield from _first(given)
    raise KeyError("a fault")

def hangs(given):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield Fact(name="child", value=child.pid)
    time.sleep(600)

def is_killed(given):
    yield from _first(given)
    os.kill(os.getpid(), signal.SIGKILL)

def segfaults(given):
    yield from _first(given)
    ctypes.string_at(0)

def is_wrong(given):
    yield Check(name="sum", words="off", is_wrong=True)

def is_not_json(given):
    yield Figure(name="not finite", value=float("nan"), unit="dB")
    yield Fact(name="reading", value={"ci": float("inf")})
    yield from _first(given)
"""


def run_python(code, **environment):
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def run_sections(tmp_path, monkeypatch):
    """Run sections of a module of ours as gpu.py runs its own: real processes; gives its rows."""
    (tmp_path / "bad_sections.py").write_text(BAD_SECTIONS, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    file = tmp_path / "rows.jsonl"

    def run(*names, limit_s=60.0, seconds=600.0, **options):
        sections = [
            Section(title=name, target=f"bad_sections:{name}", limit_s=limit_s, on_cpu=True)
            for name in names
        ]
        gpu.run_all(sections, file, seconds=seconds, **options)
        return read(file)

    return run


def outcomes(rows):
    return {
        row["section"]: (row["status"], row["reason"]) for row in rows if row["kind"] == "outcome"
    }


def sections_with_figures(rows):
    return [row["section"] for row in rows if row["kind"] == "figure"]


def test_it_needs_torch_and_numpy_alone(tmp_path):
    """Its sections too, which run in processes of their own."""
    for name in MISSING:
        (tmp_path / f"{name}.py").write_text(
            f"raise ImportError('{name} is not here')", encoding="utf-8"
        )
    modules = [
        "benchmarks.gpu.gpu",
        *(target.partition(":")[0] for target in {section.target for section in SECTIONS}),
    ]
    code = f"import {', '.join(modules)}; print('loaded')"
    assert run_python(code, PYTHONPATH=str(tmp_path)) == "loaded"
    command = [
        sys.executable,
        str(SCRIPT),
        "--only",
        "environment",
        "--out",
        str(tmp_path),
    ]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "environment: done in" in done.stdout


def test_its_networks_are_the_published_ones():
    code = "from benchmarks.gpu.networks import span, spanv2; from search_spaces import published\n"
    code += "print(span() == published('span'), spanv2() == published('spanv2'))"
    assert run_python(code) == "True True"


def test_a_section_that_raises_or_dies_costs_itself_alone(run_sections):
    names = ("raises", "is_killed", "segfaults", "is_not_json", "fine")
    rows = run_sections(*names, weights=Path("spanv2.pth"))
    assert sections_with_figures(rows) == list(names), (
        "what a section gave before it ended badly is on disk"
    )
    found = outcomes(rows)
    assert found["raises"] == ("failed", "exit status 1: KeyError: 'a fault'")
    assert found["is_killed"] == ("failed", "killed by SIGKILL")
    assert found["segfaults"] == ("failed", "killed by SIGSEGV")
    assert found["is_not_json"] == ("done", "")
    assert found["fine"] == ("done", "")
    assert rows[-2]["value"].endswith("spanv2.pth")
    assert gpu.status_of(rows) == 2


def test_a_section_that_hangs_is_ended_with_what_it_started(run_sections):
    rows = run_sections("hangs", "fine", limit_s=8.0)
    assert outcomes(rows) == {"hangs": ("failed", "over its limit of 8 s"), "fine": ("done", "")}
    assert sections_with_figures(rows) == ["fine"]
    stat = Path(f"/proc/{rows[0]['value']}/stat")
    if sys.platform == "linux":  # gone, or waiting for its new parent to notice
        assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_wrong_check_is_told_from_a_failed_section(run_sections):
    assert gpu.status_of(run_sections("is_wrong")) == 1
    assert gpu.status_of(run_sections("raises")) == 2


def test_no_section_begins_when_the_time_is_over(run_sections):
    assert outcomes(run_sections("fine", seconds=6.0)) == {
        "fine": ("not run", "the 0.1 minutes were over")
    }


def test_a_figure_that_is_no_number_is_wrong_and_costs_itself_alone(run_sections):
    rows = run_sections("is_not_json")
    assert sections_with_figures(rows) == ["is_not_json"], "what comes after it is still measured"
    assert [(row["name"], row["words"]) for row in rows if row["kind"] == "check"] == [
        ("not finite", "nan dB, no number")
    ]
    assert gpu.status_of(rows) == 1


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_a_process_that_no_signal_ends_costs_itself_alone(monkeypatch):
    """As one that waits inside a GPU's driver does."""
    monkeypatch.setattr(steps.os, "killpg", lambda *_: None)
    monkeypatch.setattr(steps, "KILL_WAIT_S", 0.1)
    command = [sys.executable, "-c", "import time; time.sleep(2)"]
    outcome = steps.run_step(command, limit_s=0.2)
    assert (outcome.status, outcome.reason) == ("failed", "over its limit of 0 s")


def test_without_a_kernel_the_headline_is_not_measured(monkeypatch):
    monkeypatch.setattr(figures.backend, "why_not", lambda *_, **__: "no nvcc")
    with pytest.raises(RuntimeError, match="cuda: no nvcc; triton: no nvcc"):
        list(figures.attention_against_eager(Given()))


def test_half_a_line_at_the_end_of_a_file_costs_itself_alone(tmp_path):
    file = tmp_path / "rows.jsonl"
    write(file, "a", Figure(name="b", value=1.0))
    with file.open("a") as out:
        out.write('{"kind": "figure", "na')
    assert [row["name"] for row in read(file)] == ["b"]
    assert read(tmp_path / "none.jsonl") == []


def test_the_table_says_what_was_demanded_and_what_was_not_measured(tmp_path):
    file = tmp_path / "rows.jsonl"
    for row in (
        Figure(name="fast", value=3.0, demand=2.8, hoped=3.3, low=2.9, high=3.1, note="n"),
        Figure(name="small", value=0.5, demand=0.45, higher=False, unit="%"),
        Check(name="sums", words="2 of 1", is_wrong=True),
        Outcome(status="failed", reason="killed by SIGKILL"),
        Outcome(status="done"),
    ):
        write(file, "a section", row)
    lines = table("H200", read(file)).splitlines()
    assert "| fast | 3x | 2.9 to 3.1 | 2.8x | 3.3x | yes | n |" in lines
    assert "| small | 0.5 % |  | 0.45 % |  | no |  |" in lines
    assert "| a section | not measured | | | | | killed by SIGKILL |" in lines
    assert "- WRONG: sums: 2 of 1" in lines
    assert len(lines) == 9


def test_all_of_it_fits_eight_minutes_and_a_session_a_call():
    """By their limits, which no section can pass."""
    assert sum(section.limit_s for section in SECTIONS) <= 8 * 60
    titles = [section.title for section in SECTIONS]
    assert titles[2:4] == ["attention against eager", "whole networks"], "after what they need"
    for name in ("1", "2"):
        assert sum(step.limit_s for step in SESSIONS[name]) <= 9.5 * 60
    assert len({step.title for step in SESSIONS["all"]}) == len(SESSIONS["all"])
    titles = [step.title for step in SESSIONS["all"]]
    assert "accuracy" in titles, "the README's table asks for it"
    asked = {step.title for step in SESSIONS["all"] if isinstance(step, Command)}
    assert asked == {
        "GPU tests", "tilings", "ncu of the runner's kernels", "compute-sanitizer, memcheck",
        "compute-sanitizer, racecheck", "host time of a call, over a stub of the driver",
    }  # fmt: skip


def test_a_session_without_a_gpu_says_of_every_step_why_it_did_not_run(tmp_path):
    command = [sys.executable, str(SCRIPT), "--session", "all"]
    environment = {**os.environ, "OUT": str(tmp_path / "out"), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "out").glob("*.jsonl")
    rows = read(file)
    assert [row["section"] for row in rows] == [step.title for step in SESSIONS["all"]]
    assert {(row["status"], row["reason"]) for row in rows} == {("not run", "no CUDA GPU")}
    assert done.stdout.count("not run in 0.0 s: no CUDA GPU") == len(rows)


def test_a_checkpoint_that_is_not_there_is_refused(tmp_path):
    command = [sys.executable, str(SCRIPT), "--weights", str(tmp_path / "x.pth")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].endswith("x.pth: there is no such file")


COUNT = """
from benchmarks.gpu import compilations
counts, jobs = compilations.gather(90)
print(counts)
print(len(jobs))
"""


def test_compilations_are_counted_and_sixteen_cores_have_them_in_their_time():
    """CPU seconds of a kernel by the audit's counting: 0.2 to 1.6; 1.3 is more than their mean."""
    pytest.importorskip("triton")
    counts, total = run_python(COUNT, TRITON_INTERPRET="0").splitlines()[-2:]
    counts = ast.literal_eval(counts)
    assert sum(counts.values()) == int(total)
    assert counts["attention against eager"] > 0
    assert counts["whole networks and modes"] > 20
    limit = {section.title: section.limit_s for section in SECTIONS}["compilations"]
    assert int(total) * 1.3 / 16 <= limit, counts


def test_what_is_compiled_beforehand_is_found_by_the_launches(tmp_path):
    """A second process asks Triton for the headline's kernels and compiles none."""
    pytest.importorskip("triton")
    code = "from benchmarks.gpu import compilations\n"
    code += "compilations.WORK = {'headline': compilations._headline}\n"
    code += "compilations._libraries = lambda arch: []\n"
    code += "compilations.num_cores = lambda: 2\n"
    first = code + "print([row.value for row in compilations.compile_for(90)])"
    environment = {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    assert "4" in run_python(first, **environment).splitlines()[-1]
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert len(list(tmp_path.rglob("*.cubin"))) == 4
    second = code + (
        "from triton.runtime.jit import JITFunction\n"
        "compile_case, run = JITFunction._do_compile, JITFunction.run\n"
        "with compilations._noting(90):\n"
        "    JITFunction._do_compile = compile_case\n"
        "    JITFunction.run = lambda kernel, *a, warmup, **k: run(kernel, *a, warmup=True, **k)\n"
        "    compilations._headline()\n"
        "    print('asked')\n"
    )
    assert run_python(second, **environment) == "asked"
    assert sorted(path.name for path in tmp_path.iterdir()) == kept


def test_the_checks_reach_past_a_tile_and_into_ragged_unaligned_slices():
    cpu, seen = torch.device("cpu"), set()
    for word, precision in checks.PRECISIONS.items():
        for case in checks.convolution_cases(cpu, precision):
            x = case.operands[0]
            is_slice = x.data_ptr() % 16 != 0 and not x.is_contiguous()
            seen.add((word, x.shape[0] > 1 and is_slice, x.shape[3] > 128))
    for word in ("strict", "TF32", "fp16", "bf16"):
        assert {(word, True, False), (word, False, True)} <= seen
    attention = list(checks.attention_cases(cpu))
    assert any(case.operands[0].shape[3] > 128 for case in attention)
    assert any(case.operands[1].data_ptr() % 16 for case in attention)


def leave_a_pixel(x):
    out = torch.empty_like(x)
    out.flatten()[:-1] = x.flatten()[:-1]
    return out


def copy_into_nan(x):
    out = torch.empty_like(x)
    assert out.isnan().all(), "memory that nobody wrote holds NaN while a kernel is checked"
    return out.copy_(x)


@pytest.mark.parametrize(("ours", "is_wrong"), [(copy_into_nan, False), (leave_a_pixel, True)])
def test_a_result_that_is_left_to_chance_is_wrong(ours, is_wrong):
    case = checks.Case(
        name="copy", ours=ours, plain=torch.clone, operands=(torch.rand(1, 3, 8, 8),),
        precision=checks.PRECISIONS["fp16"],
    )  # fmt: skip
    verdict = checks._verdict("copy", None, iter([("copy", *checks.errors(case))]))
    assert verdict.is_wrong == is_wrong
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    "measure",
    [
        lambda: timing.graph_ms([print]),
        lambda: timing.pair_ms([print], [print]),
        lambda: timing.pair_eager_ms(print, print),
    ],
)
def test_the_clock_is_up_before_a_group_is_timed_and_known_after_it(measure, monkeypatch):
    events = []
    monkeypatch.setattr(timing, "working_clock", lambda: events.append("warm") or 1980.0)
    monkeypatch.setattr(timing, "sm_mhz", lambda: events.append("clock") or 1965.0)
    graph = type("Graph", (), {"replay": lambda self: None})
    monkeypatch.setattr(timing, "captured", lambda calls: graph())
    monkeypatch.setattr(timing, "event_ms", lambda call, repeats=1: events.append("timed") or 2.0)
    found = measure()
    assert events[0] == "warm"
    assert events.count("warm") == 1
    if isinstance(found, timing.Pair):
        assert events[-1] == "clock"
        assert found.sm_mhz == (1980.0, 1965.0)
        assert (found.ratio, found.low, found.high) == (1.0, 1.0, 1.0)


def test_networks_are_timed_in_turn_with_their_spread(monkeypatch):
    """A clock that falls by a half on the way changes both, not their ratio."""
    order, slower = [], iter([1.0] * 40 + [2.0] * 10_000)

    def stopwatch(forward, repeats):
        order.append(forward.network)
        seconds = next(slower) * (0.01 if forward.network == "baseline" else 0.005)
        return Block(seconds=seconds, host=0.001)

    monkeypatch.setattr(timing, "time_on_cuda", stopwatch)
    monkeypatch.setattr(timing.Forward, "__call__", lambda forward: None)
    monkeypatch.setattr(timing, "working_clock", lambda: 1980.0)
    monkeypatch.setattr(timing, "sm_mhz", lambda: 1965.0)
    image = torch.zeros(1, 3, 2, 2)
    reading, clocks = timing.read_networks("baseline", "candidate", [(image, 1.0)])
    assert clocks == (1980.0, 1965.0)
    assert reading.ratio == pytest.approx(0.5)
    assert reading.ratio_low <= reading.ratio <= reading.ratio_high
    assert order[-4:] == ["baseline", "candidate", "candidate", "baseline"]
    assert reading.candidate_host_ms == pytest.approx(1.0)


@pytest.mark.slow
def test_every_section_runs_to_its_end_on_a_made_up_gpu():
    """No line of them is met first in the few minutes that a GPU is lent."""
    targets = [
        section.target for section in SECTIONS if section.title != "checks"
    ]  # they run on the CPU too
    command = [sys.executable, str(Path(__file__).parent / "made_up_gpu.py"), *targets]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    rows = [
        line.split(" ", 2) for line in done.stdout.splitlines() if line.startswith("benchmarks.")
    ]
    assert {target for target, *_ in rows} == set(targets)
    found = [name for _, kind, name in rows if kind == "Figure"]
    for mode in ("challenge", "challenge_graph", "graph", "deploy"):
        assert any(f"mode {mode}," in name for name in found)
    for word in ("benchmark on", "benchmark off", "copy of", "product of"):
        assert any(word in name for name in found)
