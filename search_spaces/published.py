"""Published networks by name: one YAML file each under `networks/`."""

import difflib
import functools
from importlib import resources
from typing import Any

from search_spaces.spec import ArchSpec


def names() -> list[str]:
    """List the names that `published` knows, in alphabetical order.

    Example:
        >>> from search_spaces.published import names
        >>> "spanv2" in names()
        True
    """
    folder = resources.files("search_spaces") / "networks"
    return sorted(
        path.name.removesuffix(".yaml") for path in folder.iterdir() if path.name.endswith(".yaml")
    )


def headline(name: str) -> str:
    """Return the first comment line of a network's file: what it is."""
    return _read_text(name).split("\n", 1)[0].lstrip("# ")


def report(name: str) -> dict[str, float]:
    """Return a network's row in the challenge's table of results; empty where it has none.

    Keys: psnr_valid_db, psnr_test_db, runtime_ms (RTX A6000), params_m (millions), flops_g
    (multiply-accumulates at 256x256 in billions).
    """
    row: dict[str, float] = entry(name).get("report", {})
    return row


@functools.cache
def entry(name: str) -> dict[str, Any]:
    """Return the YAML file of a published network, its key patterns written out.

    Keys: `paper`, `spec`, `official_keys`, and at need `official_runs`.

    Raises:
        ValueError: there is no such network.
    """
    data = _read_file(name)
    return data | {"official_keys": key_patterns(name, len(data["spec"]["blocks"]))}


def key_patterns(name: str, num_blocks: int) -> dict[str, str]:
    """Return the `official_keys` of a network, for a relative of it with some number of blocks.

    Where its file has `official_prefixes`, each key that starts with the name of some stands for
    one with each. In a replacement {last} is the number of the last block.
    """
    data = _read_file(name)
    patterns: dict[str, str] = data["official_keys"]

    # A word in front of a key stands for several prefixes: write the pattern of each.
    for word, prefixes in data.get("official_prefixes", {}).items():
        patterns = {
            key.replace(word, prefix, 1): ours
            for key, ours in patterns.items()
            for prefix in (prefixes if key.startswith(word) else [""])
        }

    return {key: ours.replace("{last}", str(num_blocks)) for key, ours in patterns.items()}


@functools.cache
def _read_file(name: str) -> dict[str, Any]:
    if name not in names():
        # A typo is the usual case: name the nearest network.
        close = difflib.get_close_matches(name, names(), 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(
            f"published network {name!r} is not known; {hint}known: {', '.join(names())}"
        )

    import yaml  # here alone: the networks need no more than torch

    # Data alone: a YAML file runs no code.
    data: dict[str, Any] = yaml.safe_load(_read_text(name))
    return data


def published(name: str) -> ArchSpec:
    """Return the spec of a published network, such as `span`, `spanf` or `spanv2`.

    Raises:
        ValueError: no network has the name; the message lists the known ones.

        Example:
            >>> from search_spaces import published
            >>> spec = published("spanv2")
            >>> len(spec.blocks), spec.scale, spec.arch_id
            (5, 4, '3824a8579007')
    """
    return ArchSpec.from_dict(entry(name)["spec"])


def _read_text(name: str) -> str:
    return (resources.files("search_spaces") / "networks" / f"{name}.yaml").read_text(
        encoding="utf-8"
    )
