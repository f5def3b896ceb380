"""A stored configuration as settings: what is shown, compared and hashed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

CHOSEN_CLASSES = ("sampler", "evaluator", "engine")  # keys whose class says what was chosen
LONGER_PROXY = (
    "proxy=overnight, or more proxy.steps, "
    "on photographs of your own (data=folder data.train=... data.val=...)"
)

LEFT_TO_TABLES = ("proxy", "data", "latency")  # groups that a search over a table does not use

# Settings that may differ from one session to the next; the rest is what trials mean.
MAY_CHANGE = ("run", "trials", "hours", "stop", "confirm", "workers", "engine", "retry")


# Keys that came later, with what the runs before were made under: they go on as they were.
LATER = {"ladder_long": False}


def shown_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as the report shows it: dotted keys, without what is not set.

    Of what is chosen by its class alone (a sampler, an evaluator, an engine) the class is shown.
    """
    flat = _flatten(config)
    if flat.get("evaluator") == "TableBackend":
        # What its networks were trained and timed with stands in the table.
        flat = {
            key: value
            for key, value in flat.items()
            if key.partition(".")[0] not in LEFT_TO_TABLES or key == "proxy.steps"
        }
    return flat | {"longer_proxy": LONGER_PROXY}


def keep_meaning(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that trials get their meaning from."""
    return {
        key: value
        for key, value in _flatten(config).items()
        if key.partition(".")[0] not in MAY_CHANGE and (key not in LATER or value != LATER[key])
    }


def hash_settings(config: Mapping[str, Any]) -> str:
    """Return 64 bits of the settings that trials get their meaning from, as hexadecimal text."""
    text = json.dumps(keep_meaning(config), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _flatten(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a configuration by dotted key, and the classes that were chosen."""
    flat: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            if f"{prefix}{key}" in CHOSEN_CLASSES and "_target_" in value:
                flat[f"{prefix}{key}"] = str(value["_target_"]).rpartition(".")[2]
            flat |= _flatten(value, f"{prefix}{key}.")
        elif key != "_target_" and value is not None:
            flat[f"{prefix}{key}"] = value
    return flat
