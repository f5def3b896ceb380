"""From what was typed to one plain configuration: Hydra composes, every usage error is one line."""

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from hydra import compose, initialize_config_module
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from nas.cli import catalog
from nas.cli.habits import refuse_habits
from nas.cli.invocation import UsageError
from nas.cli.key_checks import Choice, check_choice, check_keys
from nas.cli.message import message_of, part
from nas.cli.overrides import parse, quoted, refuse_chains
from nas.cli.own_files import own_file, read_own, references


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """A command's configuration, not yet checked against the types of what it builds.

    Attributes:
        tree: the values, resolved, in plain containers.
        choices: what is chosen in each group.
        overrides: as Hydra takes them, one a key.
        typed: the value of each key as the user typed it.
        changed: the overrides that differ from the defaults, as they were typed.
    """

    command: str
    tree: dict[str, Any]
    choices: dict[str, Choice]
    overrides: tuple[str, ...]
    typed: dict[str, str]
    changed: tuple[str, ...]

    def comment(self, key: str) -> str:
        """Return the comment beside a key in the YAML that sets it; empty: there is none."""
        comment = ""
        for config in configs(self.command, self.choices):
            comment = catalog.comments(config).get(key, comment)
        return comment


def configs(command: str, choices: Mapping[str, Choice]) -> list[str]:
    """Return the names of the files that a configuration is made of, the primary one first."""
    names = [f"{catalog.COMMANDS}/{command}"]
    for group, choice in choices.items():
        options = choice if isinstance(choice, list) else [choice]
        candidates = [f"{group}/{option}" for option in options if option]
        names += [name for name in candidates if catalog.exists(name)]
    return names


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The configuration that a run was started with.

    Attributes:
        config: its values, plain.
        choices: the option of each group that it was composed from.
    """

    config: Mapping[str, Any]
    choices: Mapping[str, str]


def compose_command(
    command: str, arguments: Sequence[str], *, stored: Stored | None = None
) -> Composition:
    """Compose a command's configuration with the overrides of the user.

    Args:
        arguments: KEY=VALUE each, of keys and of groups; the last one of a key holds.
        stored: what it starts from instead of the defaults.
    Raises:
        UsageError: an override cannot be read, or names an unknown key or option.

    Example:
        >>> composition = compose_command("search", ["trials=3", "seed=0"])
        >>> composition.tree["trials"], composition.choices["engine"], composition.changed
        (3, 'local', ('trials=3',))
    """
    typed = {argument.partition("=")[0]: argument.partition("=")[2] for argument in arguments}
    with initialize_config_module(catalog.PACKAGE, version_base="1.3"):
        defaults, before = _compose_config(command, {}, {})
        keys = _to_plain_keys(defaults)
        parsed = _parse_all(command, arguments, {*keys, *before})
        _drop_null_choices(parsed, before)

        # Groups first: their options bring the keys that the other overrides may name.
        groups = {key: override for key, override in parsed.items() if key in before}
        values = {key: override for key, override in parsed.items() if key not in groups}
        base, choices = _choose_options(command, groups, typed, keys) or (defaults, before)

        # What counts as changed is judged from where the run starts: the defaults, or its own.
        if stored is None:
            changed = {key for key in groups if choices[key] != before[key]}
            start = base
        else:
            start = OmegaConf.create(dict(stored.config))
            base, choices = _choose_anew(stored, groups, base)
            changed = {key for key in groups if _differ(key, base, start)}

        for key, override in values.items():
            check_keys(command, key, override.value(), base, choices)
        config = _set_values(base, values)

    changed |= {key for key in values if _differ(key, config, start)}
    return Composition(
        command=command,
        tree=_resolve(config),
        choices=choices,
        overrides=tuple(map(_make_lasting, parsed.values())),
        typed=typed,
        changed=tuple(f"{key}={typed[key]}" for key in parsed if key in changed),
    )


def compose_typed(command: str, arguments: Sequence[str]) -> Composition:
    """Compose what was typed alone, for a command whose stored run tells the rest.

    Values of groups are left out, for the run may have chosen another option, and so are
    references to other keys.

    Raises:
        UsageError: an override cannot be read, or the first name of its key is unknown.
    """
    with initialize_config_module(catalog.PACKAGE, version_base="1.3"):
        defaults, choices = _compose_config(command, {}, {})
        parsed = _parse_all(command, arguments, {"run", *_to_plain_keys(defaults), *choices})

    # What is left can be checked by itself, before the run is read.
    typed: dict[str, Override] = {}
    for key, override in parsed.items():
        name = key.partition(".")[0]
        if name in choices:
            continue
        if name != "run":  # run names what is stored
            check_keys(command, key, override.value(), defaults, choices)
        if not any(references(override.value())):
            typed[key] = override

    return Composition(
        command=command,
        tree=_resolve(_set_values(OmegaConf.create(), typed)),
        choices=choices,
        overrides=tuple(map(_make_lasting, typed.values())),
        typed={key: value for key, _, value in (text.partition("=") for text in arguments)},
        changed=(),
    )


def _parse_all(
    command: str, arguments: Sequence[str], keys: Collection[str]
) -> dict[str, Override]:
    """Return the overrides by their keys; the last one of a key holds.

    Args:
        keys: those of the command, groups among them, for hints.
    Raises:
        UsageError: an argument cannot be read.
    """
    refuse_habits(command, arguments, keys)
    parsed = {override.key_or_group: override for override in map(parse, arguments)}
    refuse_chains(parsed)
    return parsed


def _choose_options(
    command: str,
    groups: Mapping[str, Override],
    typed: Mapping[str, str],
    keys: Mapping[str, Any],
) -> tuple[DictConfig, dict[str, Choice]] | None:
    """Return the configuration with the options that the user chose; None: no group was typed.

    Raises:
        UsageError: a group has no such option, or a user's own file cannot be read.
    """
    # The configuration with its usual options was composed already.
    if not groups:
        return None
    for key, override in groups.items():
        if own_file(override) is None:
            check_choice(key, override.value(), typed[key])
    config, choices = _compose_config(command, groups, keys)
    return config, choices | {
        key: cast(Choice, override.value()) for key, override in groups.items()
    }


def _drop_null_choices(parsed: dict[str, Override], before: Mapping[str, Choice]) -> None:
    """Drop overrides with null for a group where nothing is chosen: Hydra takes no null."""
    for key in list(parsed):
        if before.get(key, "") is None and parsed[key].value() is None:
            del parsed[key]


def _choose_anew(
    stored: Stored, groups: Mapping[str, Override], composed: DictConfig
) -> tuple[DictConfig, dict[str, Choice]]:
    """Return a stored configuration with the groups that are chosen anew, and all choices.

    A choice that the run was started with changes nothing, also where single values of it were
    changed then. A user's file may hold something else by now, so it is taken and compared.

    Args:
        composed: holds the groups' new values.
    """
    config = OmegaConf.create(dict(stored.config))
    choices: dict[str, Choice] = dict(stored.choices)
    for key, override in groups.items():
        if own_file(override) or stored.choices.get(key) != override.value():
            config[key] = composed[key]
            choices[key] = cast(Choice, override.value())
    return config, choices


def _set_values(base: DictConfig, values: Mapping[str, Override]) -> DictConfig:
    """Return a copy of a configuration with values changed, merged as Hydra merges them."""
    # Values are merged into mappings and put in the place of lists, as Hydra does.
    config = base.copy()
    for key, override in values.items():
        try:
            with open_dict(config):  # keys were checked: objects may be added to named ones
                OmegaConf.update(config, key, override.value(), merge=True)
        except OmegaConfBaseException as error:
            raise UsageError(f"{part(key)}: {message_of(error)}") from error
    return config


def _to_plain_keys(config: DictConfig) -> dict[str, Any]:
    """Return a configuration in plain containers, its references as they are."""
    tree = OmegaConf.to_container(config, resolve=False)
    assert isinstance(tree, dict)
    return {str(key): value for key, value in tree.items()}


def _differ(key: str, config: DictConfig, other: DictConfig) -> bool:
    """Return whether a key holds different values, its references as they are."""
    # References are compared as they stand: resolved ones may fail on either side.
    values = []
    for candidate in (config, other):
        # A key may be missing on one side: options of a group have keys of their own.
        node = OmegaConf.select(candidate, key, throw_on_resolution_failure=False)
        is_config = OmegaConf.is_config(node)
        values.append(OmegaConf.to_container(node, resolve=False) if is_config else node)
    return bool(values[0] != values[1])


def _compose_config(
    command: str, overrides: Mapping[str, Override], keys: Mapping[str, Any]
) -> tuple[DictConfig, dict[str, Choice]]:
    """Let Hydra compose a command with choices; return the configuration and all choices.

    A user's own file takes its place afterwards, as values that Hydra never reads.

    Args:
        overrides: of groups.
        keys: the command's, which a user's own file may refer to.
    Raises:
        UsageError: Hydra refuses the choices, or a user's own file cannot be read.
    """
    # A reference to a whole group would copy a tree into a file of the user.
    value_keys = [key for key, value in keys.items() if not isinstance(value, dict)]
    own: dict[str, dict[str, Any]] = {}
    for key, override in overrides.items():
        file = own_file(override)
        if file is not None:
            own[key] = read_own(key, file, value_keys)

    # Hydra sees only names of its own options.
    lines = tuple(str(override.input_line) for key, override in overrides.items() if key not in own)
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
    # Groups of which several are chosen are missing from Hydra's report.
    choices: dict[str, Choice] = dict(catalog.several(command))
    for group, choice in reported.items():
        if not str(group).startswith("hydra"):
            choices[str(group)] = choice

    return config, choices


def _make_lasting(override: Override) -> str:
    """Return an override with the whole path of a file: a run is resumed from anywhere."""
    file = own_file(override)
    if file is None:
        return str(override.input_line)
    return f"{override.key_or_group}={quoted(str(file.resolve()))}"


def _resolve(config: DictConfig) -> dict[str, Any]:
    """Return a configuration in plain containers, its references replaced by values."""
    try:
        tree = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UsageError(message_of(error)) from error
    assert isinstance(tree, dict)
    return {str(key): value for key, value in tree.items()}
