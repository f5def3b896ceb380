"""Architectures in users' files: read within bounds and without torch, so a bad one is refused at once."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nas.cli.invocation import UsageError
from nas.cli.message import part
from nas.system.plain_data import read_plain
from search_spaces.spec import ArchSpec

KEYS = ("arch", "baseline", "parent", "start")  # whose values may name such a file
ENDS = (".yaml", ".yml", ".json")


def read_spec(file: Path) -> ArchSpec:
    """Return the architecture that a YAML or JSON file holds, by itself or under `spec`.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no architecture, or one that is out of bounds.
    """
    data = read_plain(file)
    found = data["spec"] if isinstance(data, dict) and "spec" in data else data
    if not isinstance(found, dict):
        raise ValueError(
            f"holds no architecture: a mapping of fields is needed, got {type(found).__name__}"
        )
    return ArchSpec.from_dict(found)


def check_spec_files(tree: Mapping[str, Any]) -> None:
    """Refuse a configuration that names a file without a readable architecture.

    Raises:
        UsageError: a file that is there cannot be read; what is not there is told by the command.
    """
    for key, text in _named(tree):
        path = Path(text).expanduser()
        if path.suffix in ENDS and path.is_file():
            try:
                read_spec(path)
            except ValueError as error:
                raise UsageError(f"{key}={part(text)}: {error}") from error


def _named(tree: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key in KEYS:
        value = tree.get(key)
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                yield key, text
