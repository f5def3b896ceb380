"""What a run of training tells as it goes: train.jsonl, a line a validation and a line a while."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from nas.system.record_file import RecordWriter, read_undamaged, recover

LOG = "train.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A training at one step.

    Attributes:
        stage: its segment's name.
        step: of all stages together.
        losses: mean value of each loss since the reading before, without its weight.
        rate: factor of the peak learning rates.
        seconds: of training so far.
        psnr_db: on val, of the averaged weights; None: it was not validated here.
    """

    stage: str
    step: int
    losses: dict[str, float]
    rate: float
    seconds: float
    psnr_db: float | None = None


class TrainingLog:
    """Appends readings; those that a training repeats after a kill replace their earlier selves.

    Args:
        folder: the run directory.
        config: hash of the settings that the training is made under.
    """

    def __init__(self, folder: Path, config: str) -> None:
        path = folder / LOG
        self.notice = recover(path) if path.exists() else ""
        self._writer = RecordWriter(path, config)
        self._writer.take_earlier()

    def add(self, reading: Reading) -> None:
        self._writer.append([asdict(reading)], wait=reading.psnr_db is not None)


def read_log(folder: Path) -> list[Reading]:
    """Return the readings of a run in the order of their steps, each step once."""
    path = folder / LOG
    records = read_undamaged(path) if path.exists() else []
    latest = {reading.step: reading for reading in _parse_readings(records)}
    return [latest[step] for step in sorted(latest)]


def _parse_readings(records: list[dict[str, Any]]) -> Iterator[Reading]:
    names = [field.name for field in fields(Reading)]
    for record in records:
        yield Reading(**{name: record[name] for name in names})
