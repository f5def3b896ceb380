"""What is done of a table that is being made: a file that a kill cannot spoil."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class TabulationLog:
    """Measurements and trainings that are done, a JSON line each, beside the table to be.

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
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append_line({"settings": settings})
            return

        # Everything but the first line is something done.
        first, *lines = self._read_lines()
        self._compare_settings(first["settings"], settings)
        for line in lines:
            self._file_line(line)

    def add(self, line: dict[str, Any]) -> None:
        """Keep a line; one with a seed is a training's, one without a measurement's."""
        self._append_line(line)
        self._file_line(line)

    def _read_lines(self) -> list[dict[str, Any]]:
        """Read the file, and cut off what a kill left of its last line."""
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:  # or the next line would be appended to the half one
            self.path.write_bytes(whole)
        return [json.loads(line) for line in whole.splitlines()]

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

    def _append_line(self, line: Mapping[str, Any]) -> None:
        """Write a line at the end of the file."""
        # JSON has no NaN: what cannot be read back is not written.
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
