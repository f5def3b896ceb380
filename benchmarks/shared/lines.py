"""Results files: a line of JSON a run, appended as it comes; what stands there is not run again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Line = dict[str, Any]


def read_lines(path: Path, setting: Mapping[str, Any] | None = None) -> list[Line]:
    """Return the lines of a results file, in their order; an absent file has none.

    A line that is no JSON is left out: a process that was killed may have left half of one.

    Args:
        setting: keys and values that a line has to agree with.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "speed.jsonl"
        ...     append_line(path, {"method": "random", "seed": 0, "steps": 7})
        ...     read_lines(path, {"seed": 0})
        [{'method': 'random', 'seed': 0, 'steps': 7}]
    """
    lines: list[Line] = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if setting is None or setting.items() <= line.items():
            lines.append(line)
    return lines


def append_line(path: Path, line: Mapping[str, Any]) -> None:
    """Add a line to a results file at once.

    Raises:
        ValueError: a number is NaN or infinite, which JSON has no word for.
    """
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, allow_nan=False) + "\n")
