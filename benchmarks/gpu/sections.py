"""What gpu.py runs, in which order, and how long each step may take."""

import importlib.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.shared.paths import ROOT

NO_GPU = "no CUDA GPU"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Figures that belong together.

    Attributes:
        target: module:function of what gives the rows.
        limit_s: after which its process is ended.
        on_cpu: it has something to say without a GPU too.
    """

    title: str
    target: str
    limit_s: float
    on_cpu: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Another program that a session runs: its output is kept in a file of its own.

    Attributes:
        arguments: made when its turn comes; {python}, {out} and {cores} stand for what they say.
        needs: programs on the PATH, modules or files of the checkout without which it is not run.
        environment: variables beside ours.
    """

    title: str
    arguments: tuple[str, ...]
    limit_s: float
    needs: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


Step = Section | Command


def _make_section(title: str, target: str, limit_s: float, *, on_cpu: bool = False) -> Section:
    return Section(title=title, target=f"benchmarks.gpu.{target}", limit_s=limit_s, on_cpu=on_cpu)


# The two headline figures come first, after what they need. Limits together are under eight
# minutes; what is usual is half of it.
SECTIONS = (
    _make_section("environment", "probes:describe_environment", 10, on_cpu=True),
    _make_section("compilations", "compilations:compile_kernels", 50),
    _make_section("attention against eager", "figures:measure_attention_over_eager", 25),
    _make_section("whole networks", "networks:measure_whole_networks", 50),
    _make_section("checks", "checks:check_operators", 50, on_cpu=True),
    _make_section("conv_act against cuDNN", "figures:measure_conv_act_over_cudnn", 30),
    _make_section("accuracy", "networks:measure_accuracy", 20),
    _make_section("bandwidth", "figures:measure_attention_bandwidth", 30),
    _make_section("attention, forward and backward", "figures:measure_attention_training", 20),
    _make_section("probes", "probes:probe_device", 20),
    _make_section("profiles", "probes:profile_networks", 15),
    _make_section("modes", "latency:measure_modes", 30),
    _make_section("repeatability", "latency:measure_repeatability", 25),
    _make_section("rank stability", "latency:measure_rank_stability", 55),
    _make_section("a trainer beside it", "latency:measure_beside_trainer", 40),
)
BY_TITLE = {section.title: section for section in SECTIONS}

# The GPU tests share the cores where pytest-xdist is here; alone they run as far as the limit.
GPU_TESTS = tuple(
    str(path.relative_to(ROOT)) for path in sorted((ROOT / "tests/nas").rglob("test_gpu.py"))
)
IN_PARALLEL = ("-n", "{cores}") if importlib.util.find_spec("xdist") else ()
TESTS = Command(
    title="GPU tests",
    arguments=(
        *("{python}", "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", *IN_PARALLEL),
        *(*GPU_TESTS, "tests/nas/deploy/test_runner.py"),
    ),
    limit_s=150,
    needs=("pytest",),
)
# The first four launches of each precision: what a session has time for.
TUNE = Command(
    title="tilings",
    arguments=(
        *("{python}", "benchmarks/kernels/tune.py", "--out", "{out}/tilings.json"),
        *("--cases", "4"),
    ),
    limit_s=100,
    needs=("benchmarks/kernels/tune.py",),
)
NCU = Command(
    title="ncu of the runner's kernels",
    arguments=(
        *("ncu", "--clock-control", "none", "--set", "basic", "--profile-from-start", "off"),
        *("{python}", "benchmarks/gpu/probes.py", "--forward"),
    ),
    limit_s=60,
    needs=("ncu",),
)
HOST_TIME = Command(
    title="host time of a call, over a stub of the driver",
    arguments=("{python}", "benchmarks/kernels/host_time.py", "--repeats", "100"),
    limit_s=40,
    needs=("gcc", "tests/nas/ops/stub/driver.py", "triton", "yaml"),
)


def _make_sanitizer_step(tool: str) -> Command:
    """Return the step that runs small shapes of every operator under one tool.

    PyTorch's caching allocator is off, so that the tool sees the border of every map.
    """
    return Command(
        title=f"compute-sanitizer, {tool}",
        arguments=(
            *("compute-sanitizer", "--tool", tool, "--error-exitcode", "9"),
            *("{python}", "benchmarks/gpu/probes.py", "--small"),
        ),
        limit_s=30,
        needs=("compute-sanitizer",),
        environment=(("PYTORCH_NO_CUDA_MEMORY_CACHING", "1"),),
    )


def _list_sections(*titles: str) -> tuple[Section, ...]:
    return tuple(BY_TITLE[title] for title in titles)


# Fifteen minutes at a GPU, as two calls of at most ten; the order in which an answer is worth most.
SESSIONS: dict[str, tuple[Step, ...]] = {
    "1": (
        *_list_sections("environment", "compilations", "probes", "profiles"),
        TESTS,
        *_list_sections("whole networks", "modes", "conv_act against cuDNN", "accuracy"),
    ),
    "2": (
        TUNE,
        NCU,
        _make_sanitizer_step("memcheck"),
        _make_sanitizer_step("racecheck"),
        *_list_sections("attention against eager", "bandwidth", "repeatability", "rank stability"),
        *_list_sections("a trainer beside it"),
        HOST_TIME,
    ),
}
SESSIONS["all"] = (*SESSIONS["1"], *SESSIONS["2"])  # for a machine that is held longer


def explain_absence(step: Step, *, on_gpu: bool, dry: bool) -> str | None:
    """Say why a step is not run here; None: it is.

    Args:
        dry: without a GPU nothing runs, also what could.
    """
    # A command measures a GPU, or runs a tool on it.
    if not on_gpu and (dry or isinstance(step, Command) or not step.on_cpu):
        return NO_GPU
    missing = [need for need in getattr(step, "needs", ()) if not _is_available(need)]
    return f"{', '.join(missing)}: not here" if missing else None


def format_arguments(step: Command, *, out: Path, cores: int) -> list[str]:
    """Return a command's arguments, with {python}, {out} and {cores} filled in."""
    words = {"python": sys.executable, "out": str(out.resolve()), "cores": str(cores)}
    return [argument.format(**words) for argument in step.arguments]


def _is_available(need: str) -> bool:
    """Say whether a file of the checkout, a program or a module of this name is here."""
    ways: tuple[Callable[[], bool], ...] = (
        lambda: (ROOT / need).is_file(),
        lambda: shutil.which(need) is not None,
        lambda: need.isidentifier() and importlib.util.find_spec(need) is not None,
    )
    return any(way() for way in ways)
