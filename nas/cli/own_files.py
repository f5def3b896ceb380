"""Users' own YAML files in place of an option of a group: read within bounds, as values."""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override

from nas.cli.invocation import UsageError
from nas.cli.message import part
from nas.cli.targets import TARGET, check_name
from nas.system.schema.plain_data import read_plain

GROUPS = ("recipe", "space")  # in which a YAML file of the user's may be chosen
ENDS = (".yaml", ".yml")
HYDRA_KEYS = ("defaults", "hydra")
REFERENCE = re.compile(r"\$\{([A-Za-z_][\w.]*)\}")
_PACKAGE = re.compile(r"^\s*#\s*@package", re.MULTILINE)


def own_file(override: Override) -> Path | None:
    """Return the user's own YAML file that is chosen instead of an option; None: an option is."""
    value = override.value()
    if override.key_or_group in GROUPS and isinstance(value, str) and value.endswith(ENDS):
        return Path(value).expanduser()
    return None


def references(value: Any) -> Iterator[str]:
    """Yield the texts within a value that hold `${`."""
    if isinstance(value, str):
        if "${" in value:
            yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from references(key)
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def read_own(group: str, file: Path, keys: Collection[str]) -> dict[str, Any]:
    """Return the values of the one object that a user's own file describes.

    Args:
        keys: of the command, which the file may refer to.
    Raises:
        UsageError: the file is not there, or holds what it may not.
    """
    # Messages name the argument as it was typed.
    place = f"{group}={file}"
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "there is no such file"
        raise UsageError(f"{place}: {what}")

    try:
        data = read_plain(file)
    except ValueError as error:
        raise UsageError(f"{place}: {error}") from error

    # Without a class there is nothing to check its keys against.
    if not isinstance(data, dict) or TARGET not in data:
        raise UsageError(
            f"{place} must hold the keys of a {group} with a {TARGET}, as those of conf/{group} do"
        )

    # Hydra would read these lines in a configuration of ours; here they would be passed over.
    if _PACKAGE.search(file.read_text(encoding="utf-8-sig")):
        raise UsageError(
            f"{place}: # @package is not read in a file of your own; leave the line out"
        )

    for key in HYDRA_KEYS:
        if key in data:
            raise UsageError(
                f"{place}: the key {key} is not read in a file of your own; write its values out"
            )

    # A stranger's file names no class but those that may be built, and reads no environment.
    try:
        check_name(data[TARGET], group)
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from None

    _check_references(place, data, keys)
    return data


def _check_references(place: str, data: dict[str, Any], keys: Collection[str]) -> None:
    """Check that references in a file are keys of the command, each the whole of a value.

    Raises:
        UsageError: one is something else, which would be computed when it is resolved.
    """
    for text in references(data):
        match = REFERENCE.fullmatch(text)
        if match is None or match[1] not in keys:
            raise UsageError(
                f"{place}: {part(text)!r} is not read; a value may be a reference to a key of the "
                "command by itself, such as ${scale}, and nothing else that is computed"
            )
