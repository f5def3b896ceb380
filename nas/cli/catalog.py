"""What the packaged configuration offers: commands, groups, options and the comments beside their keys."""

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
    """List the commands: one primary configuration each."""
    return options(COMMANDS)


def options(group: str) -> list[str]:
    """List what can be chosen in a group; empty when there is no such group."""
    folder = files(PACKAGE).joinpath(group)
    if not folder.is_dir():
        return []
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )


def text(config: str) -> str:
    """Read one configuration, such as challenge/ntire2026."""
    return _file(config).read_text(encoding="utf-8")


def exists(config: str) -> bool:
    """Whether there is a configuration of this name."""
    return _file(config).is_file()


def headline(config: str) -> str:
    """Give the first comment line of a configuration: what the option is."""
    for line in text(config).splitlines():
        if not line.startswith("#"):
            return ""
        if not line.startswith("# @package"):
            return line.lstrip("# ")
    return ""


def package(config: str) -> str:
    """Give the dotted place of a configuration's keys; empty for the root."""
    declared = re.match(r"# @package (\S+)", text(config))
    if declared:
        return "" if declared[1] == "_global_" else declared[1]
    return config.rpartition("/")[0].replace("/", ".")


def comments(config: str) -> dict[str, str]:
    """Map every key of a configuration, dotted from the root, to its comment (empty where it has none)."""
    found: dict[str, str] = {}
    prefix = package(config)
    path: list[tuple[int, str]] = [(-1, prefix)] if prefix else []
    key, column = (
        "",
        -1,
    )  # of the last comment: lines below it that start in its column go on with it
    for line in text(config).splitlines():
        if key and column > 0 and line.strip().startswith("#") and line.index("#") == column:
            found[key] += " " + line.strip("# ")
            continue
        match = _LINE.match(line)
        if not match or line.lstrip().startswith("#"):
            continue
        indent, comment = len(match[1]), match[4]
        while path and path[-1][0] >= indent:
            path.pop()
        path.append((indent, match[2]))
        key = ".".join(part for _, part in path)
        column = -1 if comment is None else line.rindex("#", 0, match.start(4))
        found[key] = (comment or "").strip()
    return found


def several(command: str) -> dict[str, list[str]]:
    """Give the groups of which a command chooses several options by default (Hydra does not report those)."""
    defaults = (yaml.safe_load(text(f"{COMMANDS}/{command}")) or {}).get("defaults", [])
    pairs = [pair for entry in defaults if isinstance(entry, dict) for pair in entry.items()]
    return {
        group.rpartition(" ")[2].lstrip("/"): chosen
        for group, chosen in pairs
        if isinstance(chosen, list)
    }


def docstring(command: str) -> str:
    """Read the docstring of a command's module without importing it: it may need torch."""
    return ast.get_docstring(_module(command)) or ""


def defines(command: str, function: str) -> bool:
    """Whether a command's module has a function of this name, without importing it."""
    return any(
        isinstance(node, ast.FunctionDef) and node.name == function
        for node in _module(command).body
    )


def is_whole(config: str) -> bool:
    """Whether a configuration describes one object by itself: two of its group would overwrite each other."""
    return "_target_" in (yaml.safe_load(text(config)) or {})


def sets_key(config: str, key: str) -> bool:
    """Whether a configuration holds a dotted key."""
    node = yaml.safe_load(text(config))
    prefix = package(config)
    if prefix and not key.startswith(prefix + "."):
        return False
    for part in key.removeprefix(prefix + ".").split("."):
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return True


def _module(command: str) -> ast.Module:
    return ast.parse(files("nas.commands").joinpath(f"{command}.py").read_text(encoding="utf-8"))


def _file(config: str) -> Traversable:
    return files(PACKAGE).joinpath(f"{config}.yaml")
