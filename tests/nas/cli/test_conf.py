"""Every file in conf/ composes, and its keys and values are those of what it builds."""

import importlib
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from nas.cli import catalog, schema
from nas.cli.calls import find_schema
from nas.cli.composition import compose_command
from nas.cli.door import main
from nas.cli.targets import CLASSES, locate

CONF = Path(__file__).parents[3] / "conf"
FILES = sorted(path.relative_to(CONF).with_suffix("").as_posix() for path in CONF.rglob("*.yaml"))
OPTIONS = [name for name in FILES if not name.startswith("commands/")]


def loaded(name):
    """Read one file as Hydra does (9.83e9 is a number to it, and text to PyYAML)."""
    return OmegaConf.to_container(OmegaConf.create(catalog.text(name)), resolve=False)


def choices(command):
    return compose_command(command, []).choices


# Each option of each group of each command, and each command as it is.
SELECTIONS = [(command, None) for command in catalog.commands()] + [
    (command, f"{group}={option}")
    for command in catalog.commands()
    for group in choices(command)
    for option in catalog.options(group)
]


@pytest.fixture
def nothing_is_missing(monkeypatch):
    """Let values that only the user can give (???) pass."""
    monkeypatch.setattr(schema, "missing", lambda path, hint: "???")


def run_of(command):
    return find_schema(importlib.import_module(f"nas.commands.{command}"))


@pytest.mark.parametrize(("command", "override"), SELECTIONS)
def test_every_command_composes_with_every_option(command, override, nothing_is_missing):
    composition = compose_command(command, [override] if override else [])
    checked = schema.check(run_of(command), composition.tree, given=("invocation",))
    parameters = set(schema.read_parameters(run_of(command))[1]) - {"invocation"}
    assert parameters <= set(checked), "a parameter of run that has no key in YAML"


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_has_targets_with_these_keys(name, nothing_is_missing):
    """Also when no command offers its group yet; interpolations and missing values are left out."""
    found = list(_targets(loaded(name)))
    for node in found:
        schema.check(locate(node["_target_"], name), _settled(node), path=name)


@pytest.mark.parametrize("name", FILES)
def test_every_key_has_a_comment_on_its_meaning(name):
    """What `nas COMMAND --help` prints beside a key; one on another key's line shares its comment."""
    tree = loaded(name) or {}
    comments = catalog.comments(name)
    prefix = catalog.package(name)
    for key, value in _leaves(tree, f"{prefix}." if prefix else ""):
        while key not in comments and "." in key:
            key = key.rpartition(".")[0]
        assert comments.get(key), f"{name}.yaml: {key}: {value} has no comment"


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_says_in_its_first_line_what_it_is(name):
    assert catalog.headline(name), f"{name}.yaml needs a first line: # what is chosen with it"


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("commands/")])
def test_every_command_starts_with_its_package_and_its_own_values(name):
    assert catalog.text(name).startswith("# @package _global_\n")
    defaults = loaded(name).get("defaults", ["_self_"])
    assert defaults[0] == "_self_"


@pytest.mark.parametrize("command", catalog.commands())
def test_every_command_has_help(command, capsys):
    assert main([command, "--help"]) == 0
    printed = capsys.readouterr().out
    first = catalog.docstring(command).splitlines()[0]
    assert printed.startswith(f"nas {command}: {first}\n")
    assert re.search(r"[.]$", first)
    for key in compose_command(command, []).tree:
        assert key in printed


def _targets(node):
    """List the nodes with a target, the outermost first."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield node
        else:
            for part in node.values():
                yield from _targets(part)


def _settled(node):
    if not isinstance(node, dict):
        return node
    return {
        key: _settled(value)
        for key, value in node.items()
        if value != "???" and not (isinstance(value, str) and "${" in value) and key != "defaults"
    }


def _leaves(node, prefix):
    for key, value in node.items():
        if key.startswith("_") or key == "defaults":
            continue
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def test_classes_that_may_be_named_are_those_of_conf():
    """A new _target_ in conf/ is listed in nas.cli.targets too, or users could not choose it."""
    found = {node["_target_"] for name in FILES for node in _all_targets(loaded(name))}
    unused = {"nas.losses.structure.SSIM"}  # by recipes of ours; recipes of users name it
    assert found | unused == CLASSES
    assert not [
        name
        for name in FILES
        if re.search("_(partial|args|convert|recursive)_", catalog.text(name))
    ]


def _all_targets(node):
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    found = [node] if isinstance(node, dict) and "_target_" in node else []
    return [*found, *(one for part in inner for one in _all_targets(part))]
