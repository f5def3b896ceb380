"""Checks of keys and options against what a command has, before Hydra sees them."""

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nas.cli import catalog
from nas.cli.habits import is_comma_list, run_each
from nas.cli.invocation import UsageError, did_you_mean
from nas.cli.message import part
from nas.cli.targets import TARGET

Choice = str | list[str] | None  # of a group; a list where several options are chosen


def check_choice(group: str, value: object, typed: str) -> None:
    """Check that a group has the options that are chosen, and takes as many.

    Args:
        typed: the value as the user typed it.
    Raises:
        UsageError: an option is unknown, or two exclude each other.
    """
    known = catalog.options(group)
    chosen = value if isinstance(value, list) else [value]
    for option in chosen:
        if option in known:
            continue
        # A list of known options, typed as Hydra's multirun takes it, needs another hint.
        hint = _suggest_list(group, typed, known) if is_comma_list(typed) else ""
        raise UsageError(
            f"{group}={part(typed)}: there is no {group} {part(str(option or 'null'))!r}; "
            f"choose from {', '.join(known)}" + (hint or did_you_mean(str(option), known))
        )

    if _exclude_each_other(group, chosen):
        raise UsageError(
            f"{group}={part(typed)}: only one {group} can be chosen, from {', '.join(known)}"
        )


def check_keys(
    command: str, key: str, value: object, config: DictConfig, choices: Mapping[str, Choice]
) -> None:
    """Check that a configuration has a key, and the keys within the value that it is given.

    An object may be added to others that have names of their own, such as the losses of a stage;
    whether its class belongs there is checked with the types.

    Raises:
        UsageError: it has not; the message lists the keys at that place.
    """
    if isinstance(value, dict) and TARGET in value and _takes_more(key, config):
        return
    check_key(command, key, config, choices)
    for name, inner in value.items() if isinstance(value, dict) else ():
        check_keys(command, f"{key}.{name}", inner, config, choices)


def _takes_more(key: str, config: DictConfig) -> bool:
    """Return whether a key lies in a mapping of named objects, or in an empty one."""
    node: Any = OmegaConf.to_container(config, resolve=False)
    for name in key.split(".")[:-1]:
        node = node.get(name) if isinstance(node, dict) else None
    return isinstance(node, dict) and all(
        isinstance(value, dict) and TARGET in value for value in node.values()
    )


def check_key(command: str, key: str, config: DictConfig, choices: Mapping[str, Choice]) -> None:
    """Check that a configuration has a dotted key.

    Raises:
        UsageError: it has not; the message lists the keys at that place.
    """
    # Down the dotted key, name by name, until one is not there.
    node: Any = OmegaConf.to_container(config, resolve=False)
    path: list[str] = []
    for name in key.split("."):
        if isinstance(node, dict) and name in node and name:
            node = node[name]
            path.append(name)
            continue

        above = ".".join(path)
        if path and not isinstance(node, dict):
            raise UsageError(f"unknown key {part(key)!r}: {part(above)} holds a value, not keys")
        known = [str(name) for name in node if not str(name).startswith("_")]
        # At the root a group is a key too.
        names = sorted(known if path else {*known, *choices})
        hint = did_you_mean(name, names) or _suggest_option(key, choices)
        place = f"the keys of {above} are" if path else f"the keys of nas {command} are"
        raise UsageError(f"unknown key {part(key)!r}: {place} {', '.join(names)}{hint}")


def _exclude_each_other(group: str, options: Sequence[object]) -> bool:
    """Return whether two of these options describe one object each, in the same place."""
    # Options that only set some keys can be chosen side by side.
    names = [f"{group}/{option}" for option in options]
    places = [catalog.package(name) for name in names if catalog.is_whole(name)]
    return len(places) > len(set(places))


def _suggest_list(group: str, typed: str, known: Sequence[str]) -> str:
    """Return the hint how to choose several options of a group, where that can be done."""
    if _exclude_each_other(group, known):
        return "; " + run_each(group, typed)
    return f"; several are chosen as {group}=[{typed}]"


def _suggest_option(key: str, choices: Mapping[str, Choice]) -> str:
    """Return the hint which option of a group has a key that the chosen one lacks."""
    # The key may be right with another choice: not every sampler has a population.
    for group in choices:
        holders = [
            option
            for option in catalog.options(group)
            if catalog.sets_key(f"{group}/{option}", key)
        ]
        if holders:
            return f"; {key} is a key of {' or '.join(f'{group}={option}' for option in holders)}"
    return ""
