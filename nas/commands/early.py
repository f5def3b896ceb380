"""What is known of a command's values before torch is loaded: a wrong one is refused at once."""

from collections.abc import Mapping
from typing import Any

from nas.cli.schema import conform
from nas.cli.source_types import read_types
from nas.commands.spec_files import check_spec_files
from nas.search.ranges import check_ranges


def check_early(command: str, tree: Mapping[str, Any], typed: Mapping[str, str]) -> None:
    """Refuse values of the wrong type, out of range, and files without an architecture.

    What takes one of our classes is left to the command itself.

    Args:
        tree: the configuration, or the part of it that was typed.
        typed: what the user typed, by key.
    Raises:
        UsageError: a value has another type, or a file that is there cannot be read.
        ValueError: a value is out of range.
    """
    types = read_types(command)
    values = {
        key: conform(value, types[key], key, typed) for key, value in tree.items() if key in types
    }
    check_spec_files(tree)
    if command == "search":
        check_ranges(values)
