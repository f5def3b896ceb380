"""Results files: one line of JSON a run, appended as it comes; what stands there is not run again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Line = dict[str, Any]


def read(results: Path, setting: Mapping[str, Any]) -> list[Line]:
    """The lines of a results file that were made with a setting."""
    text = results.read_text() if results.exists() else ""
    return [line for line in map(json.loads, text.splitlines()) if setting.items() <= line.items()]


def append(results: Path, line: Mapping[str, Any]) -> None:
    with results.open("a") as file:
        file.write(json.dumps(line) + "\n")
