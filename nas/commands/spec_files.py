"""Architectures in users' files: read within bounds and without torch, to be refused at once."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nas.cli.invocation import UsageError
from nas.cli.message import part
from nas.system.schema.plain_data import read_plain
from search_spaces.spec import ArchSpec

KEYS = ("arch", "baseline", "parent", "start", "teacher_arch")  # whose values may name such a file
ENDS = (".yaml", ".yml", ".json")


def read_spec(file: Path) -> ArchSpec:
    """Return the architecture that a YAML or JSON file holds, by itself or under `spec`.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no architecture, or one that is out of bounds.
    """
    data = read_plain(file)
    # `nas export` writes the spec beside where it comes from.
    fields = data["spec"] if isinstance(data, dict) and "spec" in data else data
    if not isinstance(fields, dict):
        raise ValueError(
            f"holds no architecture: a mapping of fields is needed, got {type(fields).__name__}"
        )
    return ArchSpec.from_dict(fields)


def check_spec_files(tree: Mapping[str, Any]) -> None:
    """Check the architectures in the files that a configuration names.

    Raises:
        UsageError: a file holds none that can be read. A file that is not there is the command's to
            refuse, which knows what else the text may name.
    """
    # A text without such an ending names a published network or a pick of a run.
    for key, text in _list_names(tree):
        path = Path(text).expanduser()
        if path.suffix in ENDS and path.is_file():
            try:
                read_spec(path)
            except ValueError as error:
                raise UsageError(f"{key}={part(text)}: {error}") from error


def _list_names(tree: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the texts that may name a file of an architecture, each with its key."""
    for key in KEYS:
        value = tree.get(key)
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                yield key, text
