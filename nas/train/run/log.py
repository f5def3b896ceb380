"""What a run of training tells as it goes: train.jsonl, its plan and then a line a reading."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from nas.analysis.training import Reading
from nas.system.files.record_file import RecordWriter, read_records, recover, strip_header
from nas.system.schema.stored_schema import SchemaError, read_as

LOG = "train.jsonl"
PLAN = "stages"  # key of a record that says how many steps each segment has


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
        plans = [record[PLAN] for record in self._writer.take_earlier() if PLAN in record]
        self._stages: Mapping[str, int] = plans[-1] if plans else {}

    def plan(self, stages: Mapping[str, int]) -> None:
        """Note the steps of each segment, where they are others than before."""
        if stages != self._stages:
            self._writer.append([{PLAN: dict(stages)}])
        self._stages = stages

    def add(self, reading: Reading) -> None:
        self._writer.append([asdict(reading)], wait=reading.psnr_db is not None)


def read_log(folder: Path) -> tuple[dict[str, int], list[Reading]]:
    """Return the plan of a run, and its readings in the order of their steps, each of a stage once.

    Raises:
        DamagedFileError: a record is damaged. SchemaError: it is not what a training writes.
    """
    path = folder / LOG
    records = read_records(path) if path.exists() else []
    stages: dict[str, int] = {}
    latest: dict[tuple[int, str], Reading] = {}
    for place, line in enumerate(map(strip_header, records)):
        where = f"{path}, record {place}"
        try:
            if PLAN in line:
                stages = read_as(dict[str, int], line[PLAN], where)
            elif line:
                reading = read_as(Reading, line, where)
                latest[reading.step, reading.stage] = reading
        except SchemaError as error:
            raise error.advise(f"{LOG} is not what nas train writes; restore it") from None
    # A stage begins at the step at which the one before ends, and was written after it.
    return stages, sorted(latest.values(), key=lambda reading: reading.step)
