"""Trainings that paused: what their next step depends on, in a run's folder."""

import hashlib
import math
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.system.files.drafts import replaced

FORMAT = 1  # of what is stored; another one is trained anew
MAX_BYTES = 2**30  # a hundred times what the largest network's training holds
MAX_VALUES = 100_000
MAX_DEPTH = 16  # of mappings and lists within each other


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a trial's training is.

    Attributes:
        attempt: how many trainings before this one got stuck or diverged.
        rate: multiplies every learning rate.
        seconds: of training so far, those of earlier attempts too.
        curve: steps and PSNR in dB at each rung of this attempt.
        trainer: the state of a `StageTrainer`; empty: it has not begun.
    """

    attempt: int = 0
    rate: float = 1.0
    seconds: float = 0.0
    curve: list[tuple[int, float]] = field(default_factory=list)
    trainer: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if type(self.attempt) is not int or self.attempt < 0:
            raise ValueError(f"attempt must be a whole number of at least 0, got {self.attempt!r}")
        for name in ("rate", "seconds"):
            value = getattr(self, name)
            if type(value) is not float or not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a number of at least 0, got {value!r}")
        for steps, psnr_db in self.curve:
            if type(steps) is not int or type(psnr_db) is not float or not math.isfinite(psnr_db):
                raise ValueError(f"curve must hold steps and PSNR, got {(steps, psnr_db)!r}")


def checkpoint_path(run: Path, number: int) -> Path:
    """Return where the checkpoint of a trial lies, whether it is there or not."""
    return run / "checkpoints" / f"{number}.pt"


def write_checkpoint(path: Path, progress: Progress, *, identity: str) -> None:
    """Write a paused training, whole or not at all.

    Args:
        identity: of the training; only one that is equal goes on from the file.
    """
    data = {name: getattr(progress, name) for name in Progress.__dataclass_fields__}
    data |= {"format": FORMAT, "identity": identity}
    data["digest"] = _hash_values(data)
    with replaced(path, path.with_suffix(".partial")) as draft:
        torch.save(data, draft)


def read_checkpoint(path: Path, *, identity: str) -> Progress | None:
    """Read a paused training; None: there is none, and it starts anew.

    Args:
        identity: as `write_checkpoint` was given it.
    Raises:
        ValueError: it is damaged, or another training's.
    """
    if not path.exists():
        return None

    # A checkpoint is derived: whatever is wrong with it, the training starts anew.
    try:
        return _read_progress(path, identity)
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _read_progress(path: Path, identity: str) -> Progress:
    """Read and check a file that may hold anything."""
    _check_size(path)
    # To the CPU, as a run may go on on another device; weights alone, as a pickle would run code.
    data = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(data, dict) or data.pop("digest", None) != _hash_values(data):
        raise ValueError("its digest is wrong")
    if data.pop("format") != FORMAT or data.pop("identity") != identity:
        raise ValueError("it is another training's")
    return Progress(**data)


def _check_size(path: Path) -> None:
    """Refuse what `torch.save` did not write, and what would not fit into memory."""
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise ValueError(f"it is no file of at most {MAX_BYTES} bytes")
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("its entries are compressed")


def _hash_values(data: Mapping[Any, Any]) -> str:
    """Return the SHA-256 of nested mappings, lists, numbers, text and tensors.

    Raises:
        ValueError: they hold something else, refer to themselves, or are too many.
    """
    digest, num_bytes = hashlib.sha256(), 0
    for count, piece in enumerate(_list_pieces(data, depth=0)):
        num_bytes += len(piece)
        if count > MAX_VALUES or num_bytes > MAX_BYTES:
            raise ValueError("it holds too much")
        digest.update(b"%d " % len(piece))
        digest.update(piece)
    return digest.hexdigest()


def _list_pieces(value: Any, depth: int) -> Iterator[bytes]:
    """Yield the bytes that a value is told by; equal ones before and after it was stored."""
    if depth > MAX_DEPTH:
        raise ValueError("it is nested too deep, or refers to itself")
    if isinstance(value, Tensor):
        yield f"{value.dtype} {tuple(value.shape)}".encode()
        yield _read_bytes(value)
    elif isinstance(value, dict):
        yield f"dict {len(value)}".encode()
        for key, item in value.items():
            yield repr(key).encode()
            yield from _list_pieces(item, depth + 1)
    elif isinstance(value, (list, tuple)):
        yield f"list {len(value)}".encode()
        for item in value:
            yield from _list_pieces(item, depth + 1)
    elif value is None or type(value) in (bool, int, float, str):
        yield repr(value).encode()
    else:
        raise ValueError(f"it holds a {type(value).__name__}")


def _read_bytes(tensor: Tensor) -> bytes:
    """Return the bytes of a tensor's elements in their order.

    Raises:
        ValueError: it is no plain tensor, or claims more elements than it stores.
    """
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type == "meta":
        raise ValueError(f"it holds a tensor of {tensor.layout}, {tensor.dtype}")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError("it holds a tensor that is larger than what it stores")
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes()
