"""What is done of a table that is being made: a file that a kill cannot spoil."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.system.record_file import RecordWriter, recover


class TabulationLog:
    """Measurements and trainings that are done, a record each, beside the table to be.

    Attributes:
        measured: the line of each measurement, by arch_id.
        trained: the line of each training, by arch_id and seed.
    Raises:
        ValueError: the file was begun with other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.measured: dict[str, dict[str, Any]] = {}
        self.trained: dict[tuple[str, int], dict[str, Any]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            recover(path)
        self._writer = RecordWriter(path, config="")
        records = self._writer.take_earlier()
        if not records:
            self._writer.append([{"settings": settings}])
            return

        # Everything but the first record is something done.
        self._compare_settings(records[0]["settings"], settings)
        for record in records[1:]:
            self._file_line(record)

    def add(self, line: dict[str, Any]) -> None:
        """Keep a line; one with a seed is a training's, one without a measurement's."""
        self._writer.append([line])
        self._file_line(line)

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

    def _file_line(self, line: dict[str, Any]) -> None:
        """Put a line where it is found by what it is about."""
        if "seed" in line:
            self.trained[line["arch_id"], line["seed"]] = line
        else:
            self.measured[line["arch_id"]] = line
