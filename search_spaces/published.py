"""Published networks by name: one YAML file each under `networks/`."""

import difflib
import functools
from importlib import resources
from typing import Any

from search_spaces.spec import ArchSpec


def names() -> list[str]:
    """The names that `published` knows, in alphabetical order."""
    folder = resources.files("search_spaces") / "networks"
    return sorted(
        path.name.removesuffix(".yaml") for path in folder.iterdir() if path.name.endswith(".yaml")
    )


def headline(name: str) -> str:
    """The first comment line of a network's file: what it is."""
    return _read_text(name).split("\n", 1)[0].lstrip("# ")


def report(name: str) -> dict[str, float]:
    """What the challenge's table of results says of a network; empty where it does not hold it.

    psnr_valid_db, psnr_test_db, runtime_ms (RTX A6000), params_m (millions), flops_g (multiply-accumulates
    at 256x256 in billions).
    """
    found: dict[str, float] = entry(name).get("report", {})
    return found


@functools.cache
def entry(name: str) -> dict[str, Any]:
    """The YAML file of a published network: `paper`, `spec`, `official_keys`, at need `official_runs`.

    Raises:
        ValueError: there is no such network.
    """
    data = _read_file(name)
    return data | {"official_keys": key_patterns(name, len(data["spec"]["blocks"]))}


def key_patterns(name: str, num_blocks: int) -> dict[str, str]:
    """The `official_keys` of a published network, for a relative of it that has some number of blocks.

    Where its file has `official_prefixes`, each key that starts with the name of some stands for one with
    each. In a replacement {last} is the number of the last block.
    """
    data = _read_file(name)
    patterns: dict[str, str] = data["official_keys"]
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
        close = difflib.get_close_matches(name, names(), 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(
            f"published network {name!r} is not known; {hint}known: {', '.join(names())}"
        )
    import yaml  # here alone: the networks need no more than torch

    data: dict[str, Any] = yaml.safe_load(_read_text(name))
    return data


def published(name: str) -> ArchSpec:
    """The spec of a published network, such as `span`, `spanf` or `spanv2`.

    Raises:
        ValueError: there is no such network; the message lists the known ones.
    """
    return ArchSpec.from_dict(entry(name)["spec"])


def _read_text(name: str) -> str:
    return (resources.files("search_spaces") / "networks" / f"{name}.yaml").read_text(
        encoding="utf-8"
    )
