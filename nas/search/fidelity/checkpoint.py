"""Trainings that paused: what their next step depends on, in a run's folder."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from nas.system.drafts import replaced


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


def checkpoint_path(run: Path, number: int) -> Path:
    """Return where the checkpoint of a trial lies, whether it is there or not."""
    return run / "checkpoints" / f"{number}.pt"


def write_checkpoint(path: Path, progress: Progress) -> None:
    """Write a paused training, whole or not at all."""
    data = {name: getattr(progress, name) for name in Progress.__dataclass_fields__}
    with replaced(path, path.with_suffix(".partial")) as draft:
        torch.save(data, draft)


def read_checkpoint(path: Path) -> Progress | None:
    """Read a paused training; None: there is none, and it starts anew."""
    if not path.exists():
        return None

    # To the CPU, as a run may go on on another device; weights alone, as a pickle would run code.
    return Progress(**torch.load(path, map_location="cpu", weights_only=True))
