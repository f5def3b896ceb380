"""What is done of a table that is being made: a file that a kill cannot spoil."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas.record import Cost, Latency, Quality
from nas.system.record_file import HEADER, RecordWriter, recover
from nas.system.schema_rules import Amount, Count
from nas.system.stored_schema import read_as


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


class TabulationLog:
    """Measurements and trainings that are done, a record each, beside the table to be.

    Attributes:
        measured: measurements by arch_id.
        trained: trainings by arch_id and seed.
    Raises:
        DamagedFileError, SchemaError: the file is damaged, or is none of ours.
        ValueError: it was begun with other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.measured: dict[str, Measured] = {}
        self.trained: dict[tuple[str, int], Trained] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            recover(path)
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
