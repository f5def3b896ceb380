"""Checkpoint files: read as data, without running any code from them."""

import re
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import torch

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # as torch writes some messages
_CLASS = re.compile(r"(?:GLOBAL|Unsupported class|Unsupported global:) ([\w.]+\.\w+)")
_NUMPY_KINDS = "?bhilqBHILQefdgFDUMm"  # type codes: numbers, text and dates, no objects


def split_entry(text: str | Path) -> tuple[Path, str | None]:
    """Split FILE:ENTRY, as `weights=` takes it, into the file and the name of the entry.

    The name is None where none is given. A file whose own name holds the colon is that file.
    """
    path = Path(text).expanduser()
    # On the last colon: a path may hold others.
    file, colon, entry = str(path).rpartition(":")
    if not colon or path.is_file() or not Path(file).is_file():
        return path, None
    return Path(file), entry


def read_tree(path: Path) -> Any:
    """Return what a file holds, mappings in mappings, its tensors on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or holds objects that only running its code would make.
    """
    if not path.is_file():
        what = "is a folder; name a file in it" if path.is_dir() else ""
        raise FileNotFoundError(
            f"weights: {path} {what}" if what else f"weights: there is no file {path}"
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import (
                load_file,
            )  # here alone: checkpoints of teams are read by torch

            return load_file(path)
        with _allow_numpy_scalars(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the refusal says what matters of them
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(_describe_refusal(path, error)) from None


def _allow_numpy_scalars() -> AbstractContextManager[None]:
    """Let torch's restricted unpickler make NumPy's numbers.

    A best PSNR often lies beside the weights as one of them.
    """
    scalar: Any = np.float64(0).__reduce__()[0]
    kinds = {type(np.dtype(code)) for code in _NUMPY_KINDS}
    # The function moved between NumPy 1 and 2, and a file keeps the name of the one that wrote it.
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    return torch.serialization.safe_globals([*((scalar, name) for name in names), np.dtype, *kinds])


def _describe_refusal(path: Path, error: Exception) -> str:
    """Say in one line why a file was not read; of an unknown class, its name."""
    text = _COLOUR.sub("", str(error)).strip()
    start = f"weights: {path} is refused, it holds more than tensors"
    unknown = _CLASS.search(text)
    if unknown:
        return (
            f"{start}: {unknown[1]}, which only running code from the file makes; "
            "save the state dict alone (torch.save(net.state_dict(), FILE)), or use safetensors"
        )

    # Else the first line of what torch says.
    first = text.rpartition("WeightsUnpickler error: ")[2].strip() or type(error).__name__
    first = first.splitlines()[0]
    return (
        f"{start} or is damaged ({shorten(first, 80)}); use safetensors, or a file that "
        "torch.load(weights_only=True) reads"
    )
