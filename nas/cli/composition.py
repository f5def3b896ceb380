"""From what was typed to one plain configuration: Hydra composes, every usage error is one line."""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from hydra import compose, initialize_config_module
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from nas.cli import catalog
from nas.cli.habits import is_comma_list, refuse_habits, run_each
from nas.cli.invocation import UsageError, did_you_mean
from nas.cli.message import part
from nas.cli.overrides import parse, quoted, refuse_chains
from nas.cli.own_files import own_file, read_own, references

Choice = str | list[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """A command's configuration, not yet checked against the types of what it builds.

    overrides: as Hydra takes them, one a key; typed: what the user typed for each key; changed: the overrides
    that differ from the defaults.
    """

    command: str
    tree: dict[str, Any]
    choices: dict[str, Choice]
    overrides: tuple[str, ...]
    typed: dict[str, str]
    changed: tuple[str, ...]

    def comment(self, key: str) -> str:
        """Give the comment beside a key in the YAML that sets it."""
        found = ""
        for config in configs(self.command, self.choices):
            found = catalog.comments(config).get(key, found)
        return found


def configs(command: str, choices: Mapping[str, Choice]) -> list[str]:
    """Name the files that a configuration is made of, the primary one first."""
    names = [f"{catalog.COMMANDS}/{command}"]
    for group, choice in choices.items():
        chosen = choice if isinstance(choice, list) else [choice]
        names += [
            f"{group}/{option}"
            for option in chosen
            if option and catalog.exists(f"{group}/{option}")
        ]
    return names


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a run was started with: its configuration, as plain values, and what was chosen in which group."""

    config: Mapping[str, Any]
    choices: Mapping[str, str]


def compose_command(
    command: str, arguments: Sequence[str], *, stored: Stored | None = None
) -> Composition:
    """Compose a command's configuration with what the user typed.

    Args:
        stored: what it starts from instead of the defaults.
    Raises:   UsageError: an override cannot be read, or names an unknown key or option.
    """
    with initialize_config_module(catalog.PACKAGE, version_base="1.3"):
        defaults, before = _compose(command, {}, {})
        known = _unresolved(defaults)
        refuse_habits(command, arguments, {*known, *before})
        parsed = {one.key_or_group: one for one in map(parse, arguments)}  # the last of a key holds
        refuse_chains(parsed)
        typed = {argument.partition("=")[0]: argument.partition("=")[2] for argument in arguments}
        for key in [
            key for key in parsed if before.get(key, "") is None and parsed[key].value() is None
        ]:
            del parsed[key]  # none is chosen by default; Hydra takes no null for a group
        groups = {key: override for key, override in parsed.items() if key in before}
        for key, override in groups.items():
            if own_file(override) is None:
                _check_choice(key, override.value(), typed[key])
        base, choices = _compose(command, groups, known) if groups else (defaults, before)
        choices = choices | {
            key: cast(Choice, override.value()) for key, override in groups.items()
        }
        if stored is None:
            chosen = {key for key in groups if choices[key] != before[key]}
            start = base
        else:
            start = OmegaConf.create(dict(stored.config))
            base, choices = _resumed(stored, groups, base)
            chosen = {key for key in groups if _differ(key, base, start)}
        values = {key: override for key, override in parsed.items() if key not in groups}
        for key, override in values.items():
            _check_keys(command, key, override.value(), base, choices)
        config = _updated(base, values)
    changed = chosen | {key for key in values if _differ(key, config, start)}
    return Composition(
        command=command,
        tree=_plain(config),
        choices=choices,
        overrides=tuple(map(_lasting, parsed.values())),
        typed=typed,
        changed=tuple(f"{key}={typed[key]}" for key in parsed if key in changed),
    )


def compose_typed(command: str, arguments: Sequence[str]) -> Composition:
    """Compose what was typed alone, for a command whose stored run tells the rest.

    Values of groups are left out, for the run may have chosen another option, and so are
    references to other keys.

    Raises:   UsageError: an override cannot be read, or the first name of its key is unknown.
    """
    with initialize_config_module(catalog.PACKAGE, version_base="1.3"):
        defaults, choices = _compose(command, {}, {})
    refuse_habits(command, arguments, {"run", *_unresolved(defaults), *choices})
    parsed = {one.key_or_group: one for one in map(parse, arguments)}
    refuse_chains(parsed)
    typed: dict[str, Override] = {}
    for key, override in parsed.items():
        name = key.partition(".")[0]
        if name in choices:
            continue
        if name != "run":  # run names what is stored
            _check_keys(command, key, override.value(), defaults, choices)
        if not any(references(override.value())):
            typed[key] = override
    return Composition(
        command=command,
        tree=_plain(_updated(OmegaConf.create(), typed)),
        choices=choices,
        overrides=tuple(map(_lasting, typed.values())),
        typed={key: argument for key, _, argument in (one.partition("=") for one in arguments)},
        changed=(),
    )


def _resumed(
    stored: Stored, groups: Mapping[str, Override], chosen: DictConfig
) -> tuple[DictConfig, dict[str, Choice]]:
    """A stored configuration with the groups that are chosen anew, and what is chosen.

    A choice that the run was started with changes nothing, also where single values of it were changed then;
    a file may hold something else by now and is compared.
    """
    config = OmegaConf.create(dict(stored.config))
    choices: dict[str, Choice] = dict(stored.choices)
    for key, override in groups.items():
        if own_file(override) or stored.choices.get(key) != override.value():
            config[key] = chosen[key]
            choices[key] = cast(Choice, override.value())
    return config, choices


def _updated(base: DictConfig, values: Mapping[str, Override]) -> DictConfig:
    config = base.copy()
    for key, override in values.items():
        try:
            OmegaConf.update(config, key, override.value(), merge=True)  # as Hydra does it
        except OmegaConfBaseException as error:
            raise UsageError(f"{part(key)}: {message_of(error)}") from error
    return config


def _unresolved(config: DictConfig) -> dict[str, Any]:
    """A configuration in plain containers, its references as they are."""
    found = OmegaConf.to_container(config, resolve=False)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def _differ(key: str, config: DictConfig, other: DictConfig) -> bool:
    nodes = []
    for one in (config, other):
        node = OmegaConf.select(one, key, throw_on_resolution_failure=False)
        nodes.append(
            OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node
        )
    return bool(nodes[0] != nodes[1])


def _compose(
    command: str, overrides: Mapping[str, Override], keys: Mapping[str, Any]
) -> tuple[DictConfig, dict[str, Choice]]:
    """Let Hydra compose; users' own files take their places afterwards, as values that Hydra never reads.

    Args:
        keys: the command's, which a user's own file may refer to.
    """
    names = [key for key, value in keys.items() if not isinstance(value, dict)]
    own = {
        key: read_own(key, file, names) for key, one in overrides.items() if (file := own_file(one))
    }
    lines = tuple(str(one.input_line) for key, one in overrides.items() if key not in own)
    packaged, choices = _compose_packaged(catalog.PACKAGE, command, lines)

    config = packaged.copy()
    with open_dict(config):
        for key, data in own.items():
            config[key] = data
    return config, dict(choices)


@functools.lru_cache(maxsize=32)
def _compose_packaged(
    package: str, command: str, lines: tuple[str, ...]
) -> tuple[DictConfig, Mapping[str, Choice]]:
    """Let Hydra compose a package's files alone; what is returned is shared, so never changed.

    The files do not change while a process runs, and Hydra takes a tenth of a second to read those
    of a search. One command composes two or three times: its defaults, and what was chosen.
    """
    try:
        config = compose(
            f"{catalog.COMMANDS}/{command}", overrides=[*lines], return_hydra_config=True
        )
        reported = OmegaConf.to_container(config.hydra.runtime.choices)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise UsageError(message_of(error)) from error
    assert isinstance(reported, dict)

    with open_dict(config):
        del config["hydra"]
    choices: dict[str, Choice] = dict(catalog.several(command))
    choices |= {
        str(group): choice
        for group, choice in reported.items()
        if not str(group).startswith("hydra")
    }
    return config, choices


def _lasting(override: Override) -> str:
    """What was typed, with a file's whole path: a run is resumed from anywhere."""
    file = own_file(override)
    return (
        f"{override.key_or_group}={quoted(str(file.resolve()))}"
        if file
        else str(override.input_line)
    )


def _plain(config: DictConfig) -> dict[str, Any]:
    try:
        tree = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UsageError(message_of(error)) from error
    assert isinstance(tree, dict)
    return {str(key): value for key, value in tree.items()}


def _check_choice(group: str, value: object, typed: str) -> None:
    known = catalog.options(group)
    chosen = value if isinstance(value, list) else [value]
    for option in chosen:
        if option in known:
            continue
        several = ""
        if is_comma_list(typed):
            wholes = [
                name for name in (f"{group}/{one}" for one in known) if catalog.is_whole(name)
            ]
            alone = len(set(map(catalog.package, wholes))) < len(wholes)
            several = "; " + (
                run_each(group, typed) if alone else f"several are chosen as {group}=[{typed}]"
            )
        raise UsageError(
            f"{group}={part(typed)}: there is no {group} {part(str(option or 'null'))!r}; choose from "
            f"{', '.join(known)}" + (several or did_you_mean(str(option), known))
        )
    whole = [
        catalog.package(name)
        for name in (f"{group}/{option}" for option in chosen)
        if catalog.is_whole(name)
    ]
    if len(whole) > len(set(whole)):
        raise UsageError(
            f"{group}={part(typed)}: only one {group} can be chosen, from {', '.join(known)}"
        )


def _check_keys(
    command: str, key: str, value: object, config: DictConfig, choices: Mapping[str, Choice]
) -> None:
    _check_key(command, key, config, choices)
    for name, inner in value.items() if isinstance(value, dict) else ():
        _check_keys(command, f"{key}.{name}", inner, config, choices)


def _check_key(command: str, key: str, config: DictConfig, choices: Mapping[str, Choice]) -> None:
    node: Any = OmegaConf.to_container(config, resolve=False)
    seen: list[str] = []
    for name in key.split("."):
        if isinstance(node, dict) and name in node and name:
            node = node[name]
            seen.append(name)
            continue
        above = ".".join(seen)
        if seen and not isinstance(node, dict):
            raise UsageError(f"unknown key {part(key)!r}: {part(above)} holds a value, not keys")
        known = [str(one) for one in node if not str(one).startswith("_")]
        names = sorted(known if seen else {*known, *choices})
        hint = did_you_mean(name, names) or _other_option(key, choices)
        place = f"the keys of {above} are" if seen else f"the keys of nas {command} are"
        raise UsageError(f"unknown key {part(key)!r}: {place} {', '.join(names)}{hint}")


def _other_option(key: str, choices: Mapping[str, Choice]) -> str:
    for group in choices:
        holders = [
            option
            for option in catalog.options(group)
            if catalog.sets_key(f"{group}/{option}", key)
        ]
        if holders:
            return f"; {key} is a key of {' or '.join(f'{group}={option}' for option in holders)}"
    return ""


def message_of(error: BaseException) -> str:
    """Give an exception's message on one line, without Hydra's advice."""
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [
        line
        for line in lines
        if line and not line.startswith(("See https", "object_type=", "full_key:"))
    ]
    key = re.search(r"^ *full_key: (\S+)", str(error), re.MULTILINE)
    return (f"{key[1]}: " if key else "") + ("; ".join(kept) or type(error).__name__)
