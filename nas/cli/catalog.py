"""The packaged configuration: its commands, groups and options, and the comments beside its keys.

A configuration is named by its group and option, such as challenge/ntire2026.
"""

import ast
import re
from importlib.resources import files
from importlib.resources.abc import Traversable

import yaml

PACKAGE = "nas.conf"
COMMANDS = "commands"
# key, value (quotes may hide a #), comment
_LINE = re.compile(r"""^(\s*)([\w./-]+):((?:"[^"]*"|'[^']*'|[^#"'])*)(?:#\s*(.*))?$""")


def commands() -> list[str]:
    """Return the commands: one primary configuration each."""
    return options(COMMANDS)


def options(group: str) -> list[str]:
    """Return the options of a group; empty when there is no such group.

    Example:
        >>> options("latency")
        ['auto', 'brief', 'thorough']
    """
    # The configuration is read as package data: it may lie in an archive.
    folder = files(PACKAGE).joinpath(group)
    if not folder.is_dir():
        return []
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )


def text(config: str) -> str:
    """Return the YAML of a configuration."""
    return _find_file(config).read_text(encoding="utf-8")


def exists(config: str) -> bool:
    """Return whether there is a configuration of this name."""
    return _find_file(config).is_file()


def headline(config: str) -> str:
    """Return the first comment line of a configuration, which says what the option is."""
    for line in text(config).splitlines():
        if not line.startswith("#"):
            return ""
        if not line.startswith("# @package"):
            return line.lstrip("# ")
    return ""


def package(config: str) -> str:
    """Return the dotted place of a configuration's keys; empty for the root."""
    # Hydra's own rule: a group's keys lie under its name, unless the file says otherwise.
    declared = re.match(r"# @package (\S+)", text(config))
    if declared:
        return "" if declared[1] == "_global_" else declared[1]
    return config.rpartition("/")[0].replace("/", ".")


def comments(config: str) -> dict[str, str]:
    """Return the comment of every key of a configuration; empty where a key has none.

    Keys are dotted from the root. A comment goes on in lines below it that start in its column.
    """
    by_key: dict[str, str] = {}
    prefix = package(config)

    # The keys around the current line, each with the column in which it starts.
    path: list[tuple[int, str]] = [(-1, prefix)] if prefix else []
    key, column = "", -1  # of the last comment
    for line in text(config).splitlines():
        if key and column > 0 and line.strip().startswith("#") and line.index("#") == column:
            by_key[key] += " " + line.strip("# ")
            continue
        match = _LINE.match(line)
        if not match or line.lstrip().startswith("#"):
            continue

        # A line that starts further left has left the keys above it.
        indent, comment = len(match[1]), match[4]
        while path and path[-1][0] >= indent:
            path.pop()
        path.append((indent, match[2]))
        key = ".".join(name for _, name in path)
        column = -1 if comment is None else line.rindex("#", 0, match.start(4))
        by_key[key] = (comment or "").strip()

    return by_key


def several(command: str) -> dict[str, list[str]]:
    """Return the groups of which a command chooses several options by default, and these.

    Hydra reports the choices of the other groups alone.
    """
    # The defaults list holds single names, and pairs of a group and its choice.
    defaults = (yaml.safe_load(text(f"{COMMANDS}/{command}")) or {}).get("defaults", [])
    pairs = [pair for entry in defaults if isinstance(entry, dict) for pair in entry.items()]
    return {
        group.rpartition(" ")[2].lstrip("/"): chosen  # "override /formats" names formats
        for group, chosen in pairs
        if isinstance(chosen, list)
    }


def docstring(command: str) -> str:
    """Return the docstring of a command's module without importing it: it may need torch."""
    return ast.get_docstring(_parse_module(command)) or ""


def defines(command: str, function: str) -> bool:
    """Return whether a command's module has a function of this name, without importing it."""
    return any(
        isinstance(node, ast.FunctionDef) and node.name == function
        for node in _parse_module(command).body
    )


def is_whole(config: str) -> bool:
    """Return whether a configuration describes one object by itself.

    Two of its group would overwrite each other, so only one can be chosen.
    """
    return "_target_" in (yaml.safe_load(text(config)) or {})


def sets_key(config: str, key: str) -> bool:
    """Return whether a configuration holds a dotted key."""
    # A key is dotted from the root, the file holds the part below its package.
    node = yaml.safe_load(text(config))
    prefix = package(config)
    if prefix and not key.startswith(prefix + "."):
        return False
    for name in key.removeprefix(prefix + ".").split("."):
        if not isinstance(node, dict) or name not in node:
            return False
        node = node[name]
    return True


def _parse_module(command: str) -> ast.Module:
    return ast.parse(files("nas.commands").joinpath(f"{command}.py").read_text(encoding="utf-8"))


def _find_file(config: str) -> Traversable:
    return files(PACKAGE).joinpath(f"{config}.yaml")
