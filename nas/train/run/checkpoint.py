"""The checkpoint of a run of training: all that its next step depends on."""

import io
import zipfile
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch import Tensor

from nas.system.files.drafts import replaced
from nas.system.schema.schema_rules import Count
from nas.system.schema.stored_schema import read_as
from nas.train.speed.config import Speed

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What lies in a run's file of weights.

    Attributes:
        psnr_db: on val.
        over_base: whether it is a residual over the base.
    """

    psnr_db: float
    over_base: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Where a run of training is.

    Attributes:
        segment: index of the one that is trained.
        trainer: state of its `StageTrainer`; empty: the segment has not begun.
        steps: of each segment by name, as they are planned.
        validations: of each segment.
        paces: seconds that a step of each segment took before the run; empty: it has all the time.
        speeds: how each segment is computed, as fields of `Speed`, chosen on this kind of device.
        device: cpu or cuda.
        best: averaged weights of the best validation of this segment; empty: there was none.
        best_db: its PSNR on val.
        num_worse: validations since then.
        kept: what lies in the file of weights; None: there is none yet.
        seconds: of training so far.
    """

    segment: int
    trainer: dict[str, Any]
    steps: dict[str, Count] = field(default_factory=dict)
    validations: Count = 1
    paces: dict[str, float] = field(default_factory=dict)
    speeds: dict[str, dict[str, Any]] = field(default_factory=dict)
    device: str = "cpu"
    best: dict[str, Tensor] = field(default_factory=dict)
    best_db: float | None = None
    num_worse: int = 0
    kept: Kept | None = None
    seconds: float = 0.0

    def read_speeds(self, device: torch.device) -> dict[str, Speed]:
        """Return how each segment is computed; empty on another kind of device."""
        if device.type != self.device:
            return {}
        return {name: Speed(**choice) for name, choice in self.speeds.items()}


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        OSError: it cannot be written; the one that was there stays.
    """
    data = {one.name: getattr(checkpoint, one.name) for one in fields(Checkpoint)}
    data["kept"] = checkpoint.kept and asdict(checkpoint.kept)
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
        _refuse_packed(path)
        data = torch.load(path, map_location="cpu", weights_only=True)
        version = data.pop("format")
        tensors = {name: data.pop(name) for name in ("trainer", "best")}
        hints = get_type_hints(Checkpoint)
        plain = {name: read_as(hints[name], value, name) for name, value in data.items()}
        checkpoint = Checkpoint(**plain, **tensors)
        checkpoint.read_speeds(torch.device(checkpoint.device))
    except Exception as error:  # torch.load raises whatever a damaged file makes it stumble over
        raise ValueError(
            f"{path}: it cannot be read ({type(error).__name__}); remove it to train anew"
        ) from None
    if version != FORMAT:
        raise ValueError(f"{path}: its format is {version}, and this version reads {FORMAT}")
    if checkpoint.segment < 0 or not all(isinstance(one, dict) for one in tensors.values()):
        raise ValueError(f"{path}: it is no checkpoint of a training; remove it to train anew")
    return checkpoint


def _refuse_packed(path: Path) -> None:
    """Refuse an archive that grows as it is read: what is written here is stored as it is."""
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("it is compressed")
