"""Reading a run directory without writing to it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.results import RunState
from nas.score import Baseline, Challenge, Gate, Weights
from nas.search.journal import JOURNAL, open_storage
from nas.search.ledger import read_state
from nas.search.run_directory import stored_config

LONGER_PROXY = (
    "proxy=long, or more proxy.steps, on photographs of your own (data=folder data.train=... data.select=...)"
)


def load_run(run: Path) -> RunState:
    """Rebuild a run from its journal and its stored configuration.

    Raises:
        ValueError: there is no run in this directory, or its configuration is not whole.
    """
    config = stored_config(run)
    rules = {key: value for key, value in config["challenge"].items() if key != "_target_"}
    parts = {
        name: {key: value for key, value in rules[name].items() if key != "_target_"}
        for name in ("weights", "baseline", "gate")
    }
    challenge = Challenge(
        name=rules["name"],
        weights=Weights(**parts["weights"]),
        baseline=Baseline(**parts["baseline"]),
        gate=Gate(**parts["gate"]),
    )
    limits = {name: limit for name, limit in config["limits"].items() if limit is not None}
    storage = open_storage(run / JOURNAL, read_only=True) if (run / JOURNAL).exists() else None
    return read_state(
        storage,
        name=run.resolve().name,
        challenge=challenge,
        objectives=tuple(config["objectives"]),
        limits=limits,
        settings=shown_settings(config),
        ladder_seeds=config["ladder_seeds"],
    )


def shown_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as the report shows it: dotted keys, without targets and what is not set."""
    flat: dict[str, Any] = {}

    def walk(node: Mapping[str, Any], prefix: str) -> None:
        for key, value in node.items():
            if isinstance(value, Mapping):
                walk(value, f"{prefix}{key}.")
            elif key != "_target_" and value is not None:
                flat[f"{prefix}{key}"] = value

    walk(config, "")
    return flat | {"longer_proxy": LONGER_PROXY}
