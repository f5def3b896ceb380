"""What a run that is named was started with, of whichever kind it is."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.cli import python_values, schema
from nas.cli.invocation import UsageError
from nas.cli.overrides import parse
from nas.search.store.run_folder import run_directory


def find_run(overrides: Sequence[str]) -> Path | None:
    """Return the run directory that run= names; None: none is named, or it is no run yet."""
    named = [override for override in overrides if override.startswith("run=")]
    if not named:
        return None
    value = parse(named[-1]).value()
    folder = Path(value if isinstance(value, str) else named[-1].partition("=")[2])
    return folder if run_directory.exists(folder) else None


def check_stored(
    configure: Callable[..., object],
    folder: Path,
    config: Mapping[str, Any],
    *,
    given: Collection[str] = (),
) -> dict[str, Any]:
    """Return a stored configuration, in which nothing names what may not be built.

    Args:
        configure: the function whose parameters are its keys.
        folder: the run directory, for the message.
        given: keys for which objects of Python are given.
    Raises:
        ValueError: it is not what this version writes.
    """
    try:
        python_values.refuse_objects(config)
    except UsageError as error:
        raise ValueError(f"run={folder}: {error}") from None
    try:
        checked = schema.check(configure, config, given=("invocation", *given))
    except UsageError as error:
        raise ValueError(
            f"run={folder}: {run_directory.CONFIG}: {error} "
            "(it was changed, or written by another version)"
        ) from None
    plain: dict[str, Any] = schema.plain(checked)
    return plain
