"""What is done of a table that is being made: a file that a kill cannot spoil."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas.record import Cost, Latency, Quality
from nas.system.file_locks import SoleUse
from nas.system.files.made_folders import make_folders, remove_folders
from nas.system.files.record_file import HEADER, RecordWriter, recover
from nas.system.schema.schema_rules import Amount, Count
from nas.system.schema.stored_schema import read_as


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A member's costs and latency, and the seconds that reading it took."""

    arch_id: str
    cost: Cost
    latency: Latency
    seconds: Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One training of a member; its quality is None where it failed, and `error` says why."""

    arch_id: str
    seed: Count
    quality: Quality | None
    error: str = ""

    def __post_init__(self) -> None:
        if (self.quality is None) != bool(self.error):
            raise ValueError("expected a quality where there is no error, and none else")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """The first record: the settings that the others were made under."""

    settings: Mapping[str, Any]


def find_log(table: Path) -> Path:
    """Return the log of a table that is being made."""
    return table.with_suffix(".jsonl")


def refuse_complete(table: Path) -> None:
    """Raise ValueError where a table is made already."""
    if table.exists():
        raise ValueError(f"out: {table} exists and is complete; give another name")


@contextmanager
def open_log(table: Path, settings: Mapping[str, Any]) -> Iterator["TabulationLog"]:
    """Yield the log of a table that this process alone makes meanwhile.

    A log in which nothing is done goes at the end of the block, with the folders that were made.

    Raises:
        ValueError: another process makes this table, or has made it.
        DamagedFileError, SchemaError, ValueError: as of `TabulationLog`.
        OSError: the log cannot be written.
    """
    folders, path = make_folders(table.parent), find_log(table)
    try:
        with SoleUse(
            table.with_name(f".{table.name}.lock"),
            f"out: another process is making {table}; wait for it or stop it first",
            keeps_file=False,
        ):
            refuse_complete(table)
            yield from _keep_results(path, settings)
    finally:
        remove_folders(folders)


def _keep_results(path: Path, settings: Mapping[str, Any]) -> Iterator["TabulationLog"]:
    """Yield a log; where nothing is done at the end, its file goes."""
    is_ours, log = not path.exists(), None
    try:
        log = TabulationLog(path, settings)
        is_ours = True
        yield log
    finally:
        # One that was refused, being damaged or of other settings, stays as it was.
        if is_ours and not (log and (log.measured or log.trained)):
            path.unlink(missing_ok=True)


class TabulationLog:
    """Measurements and trainings that are done, a record each, beside the table to be.

    Attributes:
        measured: measurements by arch_id.
        trained: trainings by arch_id and seed.
        notices: what the user is to be told, such as a torn record that was cut off.
    Raises:
        DamagedFileError, SchemaError: the file is damaged, or is none of ours.
        ValueError: it was begun with other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.measured: dict[str, Measured] = {}
        self.trained: dict[tuple[str, int], Trained] = {}
        cut = recover(path) if path.exists() else ""
        self.notices = [cut] if cut else []
        self._writer = RecordWriter(path, config="")
        records = self._writer.take_earlier()
        if not records:
            self._writer.append([{"settings": settings}])
            return

        # Everything but the first record is something done; a training has a seed.
        first = {name: value for name, value in records[0].items() if name not in HEADER}
        self._compare_settings(read_as(_Settings, first, f"{path}, record 0").settings, settings)
        for number, record in enumerate(records[1:], start=1):
            place = f"{path}, record {number}"
            kind: type[Trained | Measured] = Trained if "seed" in record else Measured
            self._file_result(read_as(kind, record, place))

    def add(self, result: Measured | Trained) -> None:
        """Keep a result."""
        self._writer.append([asdict(result)])
        self._file_result(result)

    def _compare_settings(self, before: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        """Refuse settings that are not those of the file."""
        now = json.loads(json.dumps(settings))  # tuples become lists, as in the file
        for key in sorted(before.keys() | now.keys()):
            if before.get(key) != now.get(key):
                raise ValueError(
                    f"{key}: {self.path.name} was begun with {before.get(key)}, now it is "
                    f"{now.get(key)}; give what it was begun with, another out=, or delete that "
                    "file"
                )

    def _file_result(self, result: Measured | Trained) -> None:
        """Put a result where it is found by what it is about."""
        if isinstance(result, Trained):
            self.trained[result.arch_id, result.seed] = result
        else:
            self.measured[result.arch_id] = result
