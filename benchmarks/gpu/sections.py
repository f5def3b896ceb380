"""What benchmarks/gpu/gpu.py runs, in which order, and how long each may take."""

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

# The two headline figures come first. Limits together are under eight minutes; what is usual is half of it.
SECTIONS = (
    Section(
        title="environment", target="benchmarks.gpu.probes:environment", limit_s=10, on_cpu=True
    ),
    Section(title="compilations", target="benchmarks.gpu.compilations:compile_kernels", limit_s=50),
    Section(
        title="attention against eager",
        target="benchmarks.gpu.figures:attention_against_eager",
        limit_s=25,
    ),
    Section(title="whole networks", target="benchmarks.gpu.networks:whole_networks", limit_s=50),
    Section(title="checks", target="benchmarks.gpu.checks:check_all", limit_s=50, on_cpu=True),
    Section(
        title="conv_act against cuDNN",
        target="benchmarks.gpu.figures:conv_act_against_cudnn",
        limit_s=30,
    ),
    Section(title="accuracy", target="benchmarks.gpu.networks:accuracy", limit_s=20),
    Section(title="bandwidth", target="benchmarks.gpu.figures:attention_bandwidth", limit_s=30),
    Section(
        title="attention, forward and backward",
        target="benchmarks.gpu.figures:attention_training",
        limit_s=20,
    ),
    Section(title="probes", target="benchmarks.gpu.probes:probe", limit_s=20),
    Section(title="profiles", target="benchmarks.gpu.probes:profiles", limit_s=15),
    Section(title="modes", target="benchmarks.gpu.latency:modes", limit_s=30),
    Section(title="repeatability", target="benchmarks.gpu.latency:repeatability", limit_s=25),
    Section(title="rank stability", target="benchmarks.gpu.latency:rank_stability", limit_s=55),
    Section(
        title="a trainer beside it", target="benchmarks.gpu.latency:beside_a_trainer", limit_s=40
    ),
)
BY_TITLE = {section.title: section for section in SECTIONS}

GPU_TESTS = tuple(
    str(path.relative_to(ROOT)) for path in sorted((ROOT / "tests/nas").rglob("test_gpu.py"))
)
IN_PARALLEL = (
    ("-n", "{cores}") if importlib.util.find_spec("xdist") else ()
)  # alone: as far as the limit
TESTS = Command(
    title="GPU tests",
    arguments=(
        *("{python}", "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", *IN_PARALLEL),
        *(*GPU_TESTS, "tests/nas/deploy/test_runner.py"),
    ),
    limit_s=150,
    needs=("pytest",),
)
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


def _sanitizer(tool: str) -> Command:
    """Small shapes of every operator under one tool; without the allocator's cache, borders are watched."""
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


def _of(*titles: str) -> tuple[Section, ...]:
    return tuple(BY_TITLE[title] for title in titles)


# Fifteen minutes at a GPU, as two calls of at most ten; the order in which an answer is worth most.
SESSIONS: dict[str, tuple[Step, ...]] = {
    "1": (
        *_of("environment", "compilations", "probes", "profiles"),
        TESTS,
        *_of("whole networks", "modes", "conv_act against cuDNN", "accuracy"),
    ),
    "2": (
        TUNE,
        NCU,
        _sanitizer("memcheck"),
        _sanitizer("racecheck"),
        *_of("attention against eager", "bandwidth", "repeatability", "rank stability"),
        *_of("a trainer beside it"),
        HOST_TIME,
    ),
}
SESSIONS["all"] = (*SESSIONS["1"], *SESSIONS["2"])


def why_not(step: Step, *, on_gpu: bool, dry: bool) -> str | None:
    """Say why a step is not run here; None: it is.

    Args:
        dry: without a GPU nothing runs, also what could.
    """
    if not on_gpu and (dry or isinstance(step, Command) or not step.on_cpu):
        return NO_GPU
    missing = [need for need in getattr(step, "needs", ()) if not _is_here(need)]
    return f"{', '.join(missing)}: not here" if missing else None


def arguments_of(step: Command, *, out: Path, cores: int) -> list[str]:
    words = {"python": sys.executable, "out": str(out.resolve()), "cores": str(cores)}
    return [argument.format(**words) for argument in step.arguments]


def _is_here(need: str) -> bool:
    ways: tuple[Callable[[], bool], ...] = (
        lambda: (ROOT / need).is_file(),
        lambda: shutil.which(need) is not None,
        lambda: need.isidentifier() and importlib.util.find_spec(need) is not None,
    )
    return any(way() for way in ways)
