"""What `nas --help` and `nas COMMAND --help` print, made from the configuration and its comments."""

import shutil
import textwrap
from importlib.metadata import version
from typing import Any

from nas.cli import catalog
from nas.cli.composition import Choice, Composition, configs

NO_CHANGE = "none"


def version_line() -> str:
    """Give the installed version."""
    return f"nas {version('esr-nas')}"


def overview() -> str:
    """List the commands that there are."""
    names = catalog.commands()
    width = max(map(len, names), default=0)
    lines = [
        "nas: search, train, measure and export efficient super-resolution networks.",
        "",
        "Usage: nas COMMAND [KEY=VALUE ...]",
        "       nas COMMAND --help      its keys, their defaults and choices",
        "       nas --version",
        "",
        "Commands:",
        *(f"  {name:<{width}}  {catalog.docstring(name).partition(chr(10))[0]}" for name in names),
    ]
    return "\n".join(lines)


def command_page(composition: Composition) -> str:
    """Print what a command does, every key with its default and comment, the groups and their options."""
    command, choices = composition.command, composition.choices
    first, _, rest = catalog.docstring(command).partition("\n")
    sections = [f"nas {command}: {first}", f"Usage: nas {command} [KEY=VALUE ...]"]
    comments: dict[str, str] = {}
    for config in configs(command, choices):
        comments |= {key: comment for key, comment in catalog.comments(config).items() if comment}
    defaults = _leaves(composition.tree)
    own = set(catalog.comments(f"{catalog.COMMANDS}/{command}"))
    rows = [(key, value, comments.get(key, "")) for key, value in defaults.items()]
    sections.append(_table("Keys, with their defaults:", [row for row in rows if row[0] in own]))
    sections.append(_groups(choices))
    sections.append(_table("Keys of what is chosen:", [row for row in rows if row[0] not in own]))
    if rest.strip():
        sections.append(textwrap.dedent(rest).strip())
    return "\n\n".join(section for section in sections if section)


def _groups(choices: dict[str, Choice]) -> str:
    lines = []
    for group, choice in choices.items():
        names = catalog.options(group)
        if not names:
            continue
        shown = f"[{','.join(choice)}]" if isinstance(choice, list) else choice or NO_CHANGE
        lines.append(f"  {group}={shown}")
        width = max(map(len, names))
        lines += [
            f"      {name:<{width}}  {catalog.headline(f'{group}/{name}')}".rstrip()
            for name in names
        ]
    return "\n".join(["Choices, with what is chosen and what there is:", *lines]) if lines else ""


def _table(title: str, rows: list[tuple[str, Any, str]]) -> str:
    if not rows:
        return ""
    left = [f"{key}={_shown(value)}" for key, value, _ in rows]
    column = min(max(map(len, left)), 44) + 4
    width = max(shutil.get_terminal_size((100, 24)).columns, 60)
    lines = [title]
    for entry, (_, _, comment) in zip(left, rows, strict=True):
        start = f"  {entry:<{column - 2}}"
        if len(start) > column:
            lines.append(start)
            start = " " * column
        wrapped = textwrap.wrap(comment, max(width - column, 24)) or [""]
        lines.append((start + wrapped[0]).rstrip())
        lines += [" " * column + line for line in wrapped[1:]]
    return "\n".join(lines)


def _leaves(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in node.items():
        if key.startswith("_"):
            continue
        if isinstance(value, dict) and value:
            leaves |= _leaves(value, f"{prefix}{key}.")
        else:
            leaves[prefix + key] = value
    return leaves


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_shown, value))}]"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        return "(required)" if value == "???" else value
    return "null" if value is None else str(value).lower()
