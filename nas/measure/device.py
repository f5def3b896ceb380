"""Which device this is, and all that a reading on it hangs on: model, driver, clocks, versions, commit."""

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
    """The device that a word names: auto (the GPU if there is one), cpu, cuda or cuda:N.

    Raises:
        ValueError: the word is not known, or that GPU is not there.
    """
    if text == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    if text == "cpu":
        return torch.device("cpu")
    kind, _, index = text.partition(":")
    if kind != "cuda" or not (index.isdigit() or text == "cuda"):
        raise ValueError(f"device={text} is not known; use auto, cpu, cuda or cuda:N")
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
    """The model of the CPU or GPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _cpu_name()


def device_id(device: torch.device) -> str:
    """What the lock of a device is called: the GPU's UUID, which no numbering changes, or "cpu"."""
    if device.type == "cuda":
        return f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    return device.type


def fingerprint(device: torch.device) -> dict[str, Any]:
    """All that a reading on a device hangs on, as JSON holds it; None where it cannot be known."""
    return {
        "device": device_name(device),
        "device_type": device.type,
        "driver": None,
        "gpu": None,
        **(_gpu(device) if device.type == "cuda" else {}),
        "cpu": _cpu_name(),
        "cpu_cores": num_cores(),
        "cpu_clocks_mhz": cpu_clocks_mhz(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if device.type == "cuda" else None,  # type: ignore[no-untyped-call]
        "git_commit": git_commit(ROOT),
    }


def git_commit(root: Path) -> str | None:
    """The commit of a checkout, with "-dirty" when its files differ; None outside of one."""
    if not (root / ".git").exists():
        return None
    commit = output(["git", "-C", str(root), "rev-parse", "HEAD"])
    if commit is None:
        return None
    changes = output(["git", "-C", str(root), "status", "--porcelain"])
    return f"{commit}-dirty" if changes else commit


def _gpu(device: torch.device) -> dict[str, Any]:
    """What nvidia-smi says of a GPU: driver, and under "gpu" clocks, power limit and temperature now."""
    known = {"gpu": {"uuid": device_id(device)}}
    query = [f"--query-gpu={GPU_FIELDS}", "--format=csv,noheader", f"--id={device_id(device)}"]
    answer = output(["nvidia-smi", *query])
    if answer is None:
        return known
    values = dict(
        zip(GPU_FIELDS.split(","), next(csv.reader([answer], skipinitialspace=True)), strict=False)
    )
    return {"driver": values.pop("driver_version", None), "gpu": known["gpu"] | values}


def _cpu_name() -> str:
    return (
        _cpuinfo("model name")[0]
        if _cpuinfo("model name")
        else platform.processor() or platform.machine()
    )


def cpu_clocks_mhz() -> list[float] | None:
    """Slowest and fastest core at this moment."""
    clocks = [float(text) for text in _cpuinfo("cpu MHz")]
    return [min(clocks), max(clocks)] if clocks else None


def _cpuinfo(field: str) -> list[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return []
    pairs = (line.partition(":") for line in lines)
    return [value.strip() for name, _, value in pairs if name.strip() == field]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def output(command: list[str]) -> str | None:
    """What a program prints; None where it is not installed or fails."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
