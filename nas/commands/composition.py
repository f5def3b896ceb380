"""From what was typed to one plain configuration: Hydra composes, every refusal is one line."""

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml
from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from nas.commands import catalog
from nas.commands.invocation import Refusal, did_you_mean

Choice = str | list[str] | None
OWN_FILES = ("space",)  # groups in which a YAML file of the user's may be chosen
_KEY = re.compile(r"[A-Za-z_][\w./-]*")


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
        names += [f"{group}/{option}" for option in chosen if option and catalog.exists(f"{group}/{option}")]
    return names


def compose_command(command: str, arguments: Sequence[str]) -> Composition:
    """Compose a command's configuration with what the user typed.

    Raises:   Refusal: an override cannot be read, or names an unknown key or option.
    """
    parsed = {
        override.key_or_group: override for override in map(parse, arguments)
    }  # the last of a key holds
    typed = {argument.partition("=")[0]: argument.partition("=")[2] for argument in arguments}
    with initialize_config_module(catalog.PACKAGE, version_base="1.3"):
        defaults, before = _compose(command, {})
        for key in [key for key in parsed if before.get(key, "") is None and parsed[key].value() is None]:
            del parsed[key]  # none is chosen by default; Hydra takes no null for a group
        groups = {key: override for key, override in parsed.items() if key in before}
        for key, override in groups.items():
            if file := own_file(override):
                if not file.is_file():
                    raise Refusal(f"{key}={typed[key]}: there is no such file")
                continue
            _check_choice(key, override.value(), typed[key])
        choices = before
        if groups:
            defaults, choices = _compose(command, groups)
            choices |= {key: cast(Choice, override.value()) for key, override in groups.items()}
        values = [key for key in parsed if key not in groups]
        for key in values:
            _check_keys(command, key, parsed[key].value(), defaults, choices)
        config = _compose(command, parsed)[0] if len(groups) < len(parsed) else defaults
    changed = {key for key in groups if choices[key] != before[key]}
    changed |= {key for key in values if OmegaConf.select(config, key) != OmegaConf.select(defaults, key)}
    return Composition(
        command=command,
        tree=_plain(config),
        choices=choices,
        overrides=tuple(map(_lasting, parsed.values())),
        typed=typed,
        changed=tuple(f"{key}={typed[key]}" for key in parsed if key in changed),
    )


def parse(argument: str) -> Override:
    """Read key=value; a value that Hydra's grammar does not take is text, as the user meant it.

    Raises:   Refusal: there is no key or no =, a + or ~ stands before the key, or brackets do not close.
    """
    key, equals, value = argument.partition("=")
    if key[:1] in ("+", "~"):
        raise Refusal(f"{argument}: keys are given plainly, without + or ~: {key.lstrip('+~')}=VALUE")
    if not equals:
        raise Refusal(f"{argument!r} is not of the form KEY=VALUE")
    if not _KEY.fullmatch(key):
        plain = key.lstrip("-").replace("-", "_")
        raise Refusal(f"{key!r} is not a key: a key is made of names and dots" + _plainly(plain, value))
    parser = OverridesParser.create()
    if not value.startswith("~"):
        try:
            override = parser.parse_override(argument)
        except HydraException:
            if value[:1] in ("[", "{"):
                raise Refusal(
                    f"{key}: cannot read {value}; a list is [a,b], and items with spaces, parentheses or "
                    "non-ASCII letters stand in quotes: ['a (1)',b]"
                ) from None
        else:
            if not override.is_sweep_override():
                return override
    if value == "~" or value.startswith("~/"):  # the shell leaves a ~ after = alone
        value = str(Path(value).expanduser())
    return parser.parse_override(f"{key}={_quoted(value)}")


def _plainly(key: str, value: str) -> str:
    return f"; try {key}={value}" if _KEY.fullmatch(key) else ""


def _quoted(value: str) -> str:
    escaped = re.sub(r"(\\*)'", lambda match: match[1] * 2 + r"\'", value)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return "'" + escaped + "\\" * trailing + "'"


def _compose(command: str, overrides: Mapping[str, Override]) -> tuple[DictConfig, dict[str, Choice]]:
    with tempfile.TemporaryDirectory() as folder:
        lines = _own_files(overrides, Path(folder))
        lines += [str(one.input_line) for one in overrides.values() if own_file(one) is None]
        try:
            config = compose(f"{catalog.COMMANDS}/{command}", overrides=lines, return_hydra_config=True)
            reported = OmegaConf.to_container(config.hydra.runtime.choices)
        except yaml.MarkedYAMLError as error:  # ours are tested: it is the user's own file
            files = [f"{key}={file}" for key, one in overrides.items() if (file := own_file(one))]
            raise Refusal(f"{', '.join(files)} is no YAML: {_place(error)}") from error
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise Refusal(one_line(error)) from error
    assert isinstance(reported, dict)
    with open_dict(config):
        del config["hydra"]
    choices: dict[str, Choice] = dict(catalog.several(command))
    choices |= {
        str(group): choice for group, choice in reported.items() if not str(group).startswith("hydra")
    }
    return config, choices


def _place(error: yaml.MarkedYAMLError) -> str:
    """What a YAML reader stumbled over, and where."""
    mark = error.problem_mark
    where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{error.problem}{where}" + (f" ({error.context})" if error.context else "")


def own_file(override: Override) -> Path | None:
    """The user's own YAML file that is chosen instead of an option of a group."""
    value = override.value()
    if override.key_or_group in OWN_FILES and isinstance(value, str) and value.endswith(".yaml"):
        return Path(value).expanduser()
    return None


def _own_files(overrides: Mapping[str, Override], folder: Path) -> list[str]:
    """Lay users' files into a folder where Hydra finds them as options; gives what chooses them."""
    lines = []
    for key, override in overrides.items():
        if file := own_file(override):
            option = folder / key / f"own_{file.stem}.yaml"  # no name of ours
            option.parent.mkdir()
            shutil.copy(file, option)
            lines.append(f"{key}={option.stem}")
    return [*lines, f"hydra.searchpath=['file://{folder}']"] if lines else []


def _lasting(override: Override) -> str:
    """What was typed, with a file's whole path: a run is resumed from anywhere."""
    file = own_file(override)
    return f"{override.key_or_group}={_quoted(str(file.resolve()))}" if file else str(override.input_line)


def _plain(config: DictConfig) -> dict[str, Any]:
    try:
        tree = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise Refusal(one_line(error)) from error
    assert isinstance(tree, dict)
    return {str(key): value for key, value in tree.items()}


def _check_choice(group: str, value: object, typed: str) -> None:
    known = catalog.options(group)
    chosen = value if isinstance(value, list) else [value]
    for option in chosen:
        if isinstance(option, str) and option and catalog.exists(f"{group}/{option}"):
            continue
        several = (
            f"; several are chosen as {group}=[{typed}]" if "," in typed and not typed.startswith("[") else ""
        )
        raise Refusal(
            f"{group}={typed}: there is no {group} {option or 'null'!r}; choose from {', '.join(known)}"
            + (several or did_you_mean(str(option), known))
        )
    whole = [
        catalog.package(name) for name in (f"{group}/{option}" for option in chosen) if catalog.is_whole(name)
    ]
    if len(whole) > len(set(whole)):
        raise Refusal(f"{group}={typed}: only one {group} can be chosen, from {', '.join(known)}")


def _check_keys(
    command: str, key: str, value: object, config: DictConfig, choices: Mapping[str, Choice]
) -> None:
    _check_key(command, key, config, choices)
    for part, inner in value.items() if isinstance(value, dict) else ():
        _check_keys(command, f"{key}.{part}", inner, config, choices)


def _check_key(command: str, key: str, config: DictConfig, choices: Mapping[str, Choice]) -> None:
    node: Any = OmegaConf.to_container(config, resolve=False)
    seen: list[str] = []
    for part in key.split("."):
        if isinstance(node, dict) and part in node and part:
            node = node[part]
            seen.append(part)
            continue
        above = ".".join(seen)
        if seen and not isinstance(node, dict):
            raise Refusal(f"unknown key {key!r}: {above} holds a value, not keys")
        known = [name for name in node if not name.startswith("_")]
        names = sorted(known if seen else {*known, *choices})
        hint = did_you_mean(part, names) or _other_option(key, choices)
        place = f"the keys of {above} are" if seen else f"the keys of nas {command} are"
        raise Refusal(f"unknown key {key!r}: {place} {', '.join(names)}{hint}")


def _other_option(key: str, choices: Mapping[str, Choice]) -> str:
    for group in choices:
        holders = [option for option in catalog.options(group) if catalog.sets_key(f"{group}/{option}", key)]
        if holders:
            return f"; {key} is a key of {' or '.join(f'{group}={option}' for option in holders)}"
    return ""


def one_line(error: BaseException) -> str:
    """Give an exception's message on one line, without Hydra's advice."""
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [
        line for line in lines if line and not line.startswith(("See https", "object_type=", "full_key:"))
    ]
    key = re.search(r"^ *full_key: (\S+)", str(error), re.MULTILINE)
    return (f"{key[1]}: " if key else "") + ("; ".join(kept) or type(error).__name__)
