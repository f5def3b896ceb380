"""The pages of `nas --help` and `nas COMMAND --help`, made from the configuration's comments."""

import shutil
import textwrap
from importlib.metadata import version
from typing import Any

from nas.cli import catalog
from nas.cli.composition import Composition, configs
from nas.cli.key_checks import Choice

NO_CHANGE = "none"
MAX_KEY_COLUMNS = 44  # a longer key=value pushes its comment to the next line


def version_line() -> str:
    """Return the installed version, as `nas --version` prints it."""
    return f"nas {version('esr-nas')}"


def overview() -> str:
    """Return the page that lists the commands."""
    # Docstrings are read from the files: importing every command would take seconds.
    names = catalog.commands()
    width = max(map(len, names), default=0)

    # The first line of a command's docstring says what it does.
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
    """Return the page of a command: its purpose, its keys, and its groups with their options.

    Keys stand with the values of the composition, which are the defaults but for what was typed.
    """
    command, choices = composition.command, composition.choices
    first, _, rest = catalog.docstring(command).partition("\n")
    sections = [f"nas {command}: {first}", f"Usage: nas {command} [KEY=VALUE ...]"]

    # A later configuration's comment on a key replaces an earlier one's, as its value does.
    comments: dict[str, str] = {}
    for config in configs(command, choices):
        comments |= {key: comment for key, comment in catalog.comments(config).items() if comment}

    # The command's own keys come first; those of the options that are chosen change with these.
    own = set(catalog.comments(f"{catalog.COMMANDS}/{command}"))
    rows = [
        (key, value, comments.get(key, ""))
        for key, value in _flatten_keys(composition.tree).items()
    ]
    own_rows = [row for row in rows if row[0] in own]
    other_rows = [row for row in rows if row[0] not in own]
    sections.append(_format_table("Keys, with their defaults:", own_rows))
    sections.append(_format_groups(choices))
    sections.append(_format_table("Keys of what is chosen:", other_rows))
    if rest.strip():
        sections.append(textwrap.dedent(rest).strip())
    return "\n\n".join(section for section in sections if section)


def _format_groups(choices: dict[str, Choice]) -> str:
    """Return the groups, each with its choice and its options; empty: there are none."""
    lines = []
    for group, choice in choices.items():
        names = catalog.options(group)
        if not names:
            continue
        # A group of which several are chosen is typed as a list.
        chosen = f"[{','.join(choice)}]" if isinstance(choice, list) else choice or NO_CHANGE
        lines.append(f"  {group}={chosen}")
        width = max(map(len, names))
        for name in names:
            headline = catalog.headline(f"{group}/{name}")
            lines.append(f"      {name:<{width}}  {headline}".rstrip())

    return "\n".join(["Choices, with what is chosen and what there is:", *lines]) if lines else ""


def _format_table(title: str, rows: list[tuple[str, Any, str]]) -> str:
    """Return key, value and comment of each row in two columns; empty: there are no rows."""
    if not rows:
        return ""

    # One column for keys, as wide as the longest that is not too long.
    entries = [f"{key}={_format_value(value)}" for key, value, _ in rows]
    column = min(max(map(len, entries)), MAX_KEY_COLUMNS) + 4
    width = max(shutil.get_terminal_size((100, 24)).columns, 60)

    lines = [title]
    for entry, (_, _, comment) in zip(entries, rows, strict=True):
        start = f"  {entry:<{column - 2}}"
        if len(start) > column:
            lines.append(start)
            start = " " * column
        # Comments wrap in their own column, so that keys stay in sight.
        wrapped = textwrap.wrap(comment, max(width - column, 24)) or [""]
        lines.append((start + wrapped[0]).rstrip())
        lines += [" " * column + line for line in wrapped[1:]]

    return "\n".join(lines)


def _flatten_keys(node: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a tree by their dotted keys; Hydra's own keys are left out."""
    values: dict[str, Any] = {}
    for key, value in node.items():
        if key.startswith("_"):
            continue
        # An empty mapping is a value: there is nothing below it to list.
        if isinstance(value, dict) and value:
            values |= _flatten_keys(value, f"{prefix}{key}.")
        else:
            values[prefix + key] = value

    return values


def _format_value(value: Any) -> str:
    """Return a value as a user types it."""
    if isinstance(value, list):
        return f"[{','.join(map(_format_value, value))}]"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        return "(required)" if value == "???" else value
    return "null" if value is None else str(value).lower()
