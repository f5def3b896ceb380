"""Runs `nas train` and reads what came of it, for the scripts of this folder."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from nas.measure.device import device_name
from nas.train.run.log import read_log


def run_training(folder: Path, *arguments: str, threads: int) -> dict[str, Any]:
    """Train in a process of its own; return result.json, and the PSNR on val by step.

    A training that was stopped goes on; one that is done is only read.

    Args:
        folder: the run directory.
        threads: of PyTorch.
    Raises:
        subprocess.CalledProcessError: the training failed; its message stands on the terminal.
    """
    if not (folder / "result.json").exists():
        command = [sys.executable, "-m", "nas", "train", f"run={folder}", *arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        subprocess.run(command, check=True, env=environment)
    _, readings = read_log(folder)
    result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return result | {"curve": [(one.step, one.psnr_db) for one in readings]}


def name_machine(threads: int) -> dict[str, str | int]:
    """Return what a figure of time depends on."""
    return {
        "machine": device_name(torch.device("cpu")),
        "torch": torch.__version__,
        "threads": threads,
    }


def join_data(train: Path, val: Path, test: Path | None = None) -> Sequence[str]:
    """Return the overrides that name folders of images."""
    named = ["data=folder", f"data.train={train}", f"data.val={val}"]
    return named if test is None else [*named, f"data.test={test}"]
