"""Which device this is, and what a reading on it depends on: model, driver, clocks, versions."""

import csv
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from nas.system.cores import num_cores

ROOT = Path(__file__).parents[2]  # the checkout, where there is one
PACKAGES = ("esr-nas", "torch", "triton", "numpy", "optuna")
GPU_FIELDS = (
    "driver_version,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.limit,temperature.gpu"
)


def pick_device(text: str) -> torch.device:
    """Return the device that a word names: auto (the GPU if there is one), cpu, cuda or cuda:N.

    Raises:
        ValueError: the word is not known, or that GPU is not there.

    Example:
        >>> pick_device("cpu")
        device(type='cpu')
    """
    # auto and cpu always name a device that is there.
    if text == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    if text == "cpu":
        return torch.device("cpu")

    kind, _, index = text.partition(":")
    if kind != "cuda" or not (index.isdigit() or text == "cuda"):
        raise ValueError(f"device={text} is not known; use auto, cpu, cuda or cuda:N")

    # A GPU that cannot be used has two reasons, with different cures.
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if num_gpus == 0:
        why = "is built without CUDA" if torch.version.cuda is None else "finds no usable GPU"
        raise ValueError(
            f"device={text}: torch {torch.__version__} {why}; use device=auto or device=cpu"
        )
    if int(index or 0) >= num_gpus:
        raise ValueError(f"device={text}: there are {num_gpus} GPUs, numbered from 0")
    return torch.device("cuda", int(index or 0))


def device_name(device: torch.device) -> str:
    """Return the model of the CPU or GPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _read_cpu_name()


def device_id(device: torch.device) -> str:
    """Return the name of a device's lock: the GPU's UUID, or "cpu".

    A UUID stays the same however `CUDA_VISIBLE_DEVICES` numbers the GPUs.
    """
    if device.type == "cuda":
        return f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    return device.type


def fingerprint(device: torch.device) -> dict[str, Any]:
    """Return all that a reading on a device depends on, as JSON holds it.

    A value that cannot be known is None.
    """
    return {
        "device": device_name(device),
        "device_type": device.type,
        # Of a GPU; a CPU keeps the keys, empty.
        "driver": None,
        "gpu": None,
        **(_query_gpu(device) if device.type == "cuda" else {}),
        "cpu": _read_cpu_name(),
        "cpu_cores": num_cores(),
        "cpu_clocks_mhz": cpu_clocks_mhz(),
        "system": platform.platform(),
        # The software.
        "python": platform.python_version(),
        "versions": {name: _find_version(name) for name in PACKAGES},
        "cuda": torch.version.cuda,
        "cudnn": _find_cudnn_version() if device.type == "cuda" else None,
        "git_commit": git_commit(ROOT),
    }


def git_commit(root: Path) -> str | None:
    """Return the commit of a checkout, with "-dirty" when its files differ; None outside of one."""
    if not (root / ".git").exists():
        return None
    commit = output(["git", "-C", str(root), "rev-parse", "HEAD"])
    if commit is None:
        return None
    # A reading of changed files cannot be repeated from the commit alone.
    changes = output(["git", "-C", str(root), "status", "--porcelain"])
    return f"{commit}-dirty" if changes else commit


def _query_gpu(device: torch.device) -> dict[str, Any]:
    """Return a GPU's driver, and under "gpu" its clocks, power limit and temperature now."""
    gpu = {"uuid": device_id(device)}

    # nvidia-smi prints a line of CSV; units stand in the values.
    query = [f"--query-gpu={GPU_FIELDS}", "--format=csv,noheader", f"--id={device_id(device)}"]
    answer = output(["nvidia-smi", *query])
    if answer is None:
        return {"gpu": gpu}

    row = next(csv.reader([answer], skipinitialspace=True))
    values = dict(zip(GPU_FIELDS.split(","), row, strict=False))
    return {"driver": values.pop("driver_version", None), "gpu": gpu | values}


def _read_cpu_name() -> str:
    names = _read_cpuinfo("model name")
    return names[0] if names else platform.processor() or platform.machine()


def cpu_clocks_mhz() -> list[float] | None:
    """Return the clocks of the slowest and the fastest core at this moment; None: unknown."""
    clocks = [float(text) for text in _read_cpuinfo("cpu MHz")]
    return [min(clocks), max(clocks)] if clocks else None


def _read_cpuinfo(field: str) -> list[str]:
    """Return the values of a field, one a core; none where the system has no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return []
    pairs = (line.partition(":") for line in lines)
    return [value.strip() for name, _, value in pairs if name.strip() == field]


def _find_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _find_cudnn_version() -> int | None:
    number: int | None = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return number


def output(command: list[str]) -> str | None:
    """Return what a program prints; None where it is not installed, fails or takes over 10 s."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
