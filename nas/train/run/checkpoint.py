"""The checkpoint of a run of training: all that its next step depends on."""

import io
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.system.files.drafts import replaced

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Where a run of training is.

    Attributes:
        segment: index of the one that is trained.
        trainer: state of its `StageTrainer`; empty: the segment has not begun.
        steps: of each segment by name, as they are planned.
        validations: of each segment.
        paces: seconds that a step of each segment took before the run; empty: it has all the time.
        best: averaged weights of the best validation of this segment; empty: there was none.
        best_db: its PSNR on val.
        num_worse: validations since then.
        seconds: of training so far.
    """

    segment: int
    trainer: dict[str, Any]
    steps: dict[str, int] = field(default_factory=dict)
    validations: int = 1
    paces: dict[str, float] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_db: float | None = None
    num_worse: int = 0
    seconds: float = 0.0


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        OSError: it cannot be written; the one that was there stays.
    """
    data = {name.name: getattr(checkpoint, name.name) for name in fields(Checkpoint)}
    # Into memory first: of a full disk torch itself tells no more than a RuntimeError.
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **data}, buffer)
    with replaced(path, path.with_suffix(".partial")) as draft:
        draft.write_bytes(buffer.getvalue())


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU.

    Raises:
        ValueError: it is damaged, or another version wrote it.
    """
    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
        version = data.pop("format")
        checkpoint = Checkpoint(**data)
    except Exception as error:  # torch.load raises whatever a damaged file makes it stumble over
        raise ValueError(
            f"{path}: it cannot be read ({type(error).__name__}); remove it to train anew"
        ) from None
    is_sound = isinstance(checkpoint.segment, int) and checkpoint.segment >= 0
    if not is_sound or not isinstance(checkpoint.trainer, dict):
        raise ValueError(f"{path}: it is no checkpoint of a training; remove it to train anew")
    if version != FORMAT:
        raise ValueError(f"{path}: its format is {version}, and this version reads {FORMAT}")
    return checkpoint
