"""Write the reference of commands and keys from conf/: `make docs` builds it into the site.

MkDocs calls `on_files` (mkdocs.yml: hooks). The pages are made anew for each build and lie nowhere else, so
that a comment in conf/ is said once. To read them without MkDocs:

    python docs/_scripts/reference.py FOLDER
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from nas.cli import catalog
from nas.cli.composition import Choice, Composition, compose_command

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[2]
# Files of the repository that the site shows too, and where their links lead from there.
BORROWED = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples/README.md": "examples.md",
    "benchmarks/results/proxy.svg": "pictures/proxy.svg",
}


def write_pages() -> dict[str, str]:
    """Return the generated pages, by their path under docs/: one a command, one for all groups."""
    pages = {f"reference/{name}.md": write_command(name) for name in catalog.commands()}
    return pages | {"reference/groups.md": write_groups()}


def write_command(command: str) -> str:
    """Return a command's page: its docstring, each of its own keys, the groups from which it chooses."""
    composition = compose_command(command, [])
    title, _, rest = catalog.docstring(command).partition("\n")
    lines = [f"# nas {command}", "", title, *_write_docstring(rest)]

    own = catalog.comments(f"{catalog.COMMANDS}/{command}")
    values = flatten(composition.tree)
    rows = [(key, values[key], composition.comment(key)) for key in values if key in own]
    lines += _write_keys("## Keys", rows)

    if composition.choices:
        lines += _write_choices(composition)
    return "\n".join(lines) + "\n"


def write_groups() -> str:
    """Return the page of all groups: what can be chosen in each, and the keys that it brings."""
    lines = [
        "# Groups",
        "",
        "`GROUP=OPTION` chooses a file of `conf/GROUP/`; its keys are overridden one by one.",
    ]
    for group in list_groups():
        lines += ["", f"## {group}"]
        for option in catalog.options(group):
            config = f"{group}/{option}"
            lines += ["", f"### {group}={option}", "", _escape(catalog.headline(config))]

            # keys in the file stand from their package on; comments are dotted from the root
            prefix = catalog.package(config)
            tree = yaml.safe_load(catalog.text(config)) or {}
            values = flatten(tree, f"{prefix}." if prefix else "")
            comments = catalog.comments(config)
            lines += _write_keys("", [(key, values[key], comments.get(key, "")) for key in values])
    return "\n".join(lines) + "\n"


def list_groups() -> list[str]:
    """Return the groups from which any command chooses."""
    chosen = [compose_command(command, []).choices for command in catalog.commands()]
    return sorted({group for choices in chosen for group in choices if catalog.options(group)})


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a configuration by their dotted keys, without `_target_` and `defaults`."""
    values: dict[str, Any] = {}
    for key, value in tree.items():
        if str(key).startswith("_") or key == "defaults":
            continue
        if isinstance(value, dict) and value:
            values |= flatten(value, f"{prefix}{key}.")
        else:
            values[prefix + str(key)] = value
    return values


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages and the borrowed files to those that MkDocs found."""
    from mkdocs.structure.files import File

    for path, text in write_pages().items():
        files.append(File.generated(config, path, content=text))
    for source, path in BORROWED.items():
        if path.endswith(".md"):
            text = move_links((ROOT / source).read_text(encoding="utf-8"), source)
            files.append(File.generated(config, path, content=text))
        else:
            files.append(File.generated(config, path, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead a page's links to borrowed files to where the site has them."""
    for source, path in BORROWED.items():
        markdown = markdown.replace(f"](../{source}", f"]({path}")  # pages at the top
        markdown = markdown.replace(f"](../../{source}", f"](../{path}")  # pages in a folder
    return markdown


def move_links(text: str, source: str) -> str:
    """Return a borrowed page with its links changed to the site's places; others become plain words."""
    up = "../" if "/" in source else ""
    for other, path in BORROWED.items():
        text = text.replace(f"]({up}{other}", f"]({path}")
    text = text.replace(f"]({up}docs/", "](")
    # what the site does not hold (code, a licence) keeps its name and loses its link
    return re.sub(r"\[([^\]]+)\]\((?!https?:|#)([^)\s]+)\)", _keep_if_shown, text)


def _keep_if_shown(link: re.Match[str]) -> str:
    path = link[2].partition("#")[0]
    is_shown = path in BORROWED.values() or (ROOT / "docs" / path).exists()
    return link[0] if is_shown else link[1]


def _write_docstring(text: str) -> list[str]:
    """Return what a docstring says below its first line; its examples become a block of code."""
    paragraphs, _, examples = text.partition("Examples:\n")
    lines = ["", _escape(paragraphs.strip())] if paragraphs.strip() else []
    if examples.strip():
        commands = [line.strip() for line in examples.strip().splitlines()]
        lines += ["", "```sh", *map(_quote_brackets, commands), "```"]
    return lines


def _quote_brackets(command: str) -> str:
    """Quote the words of a command that zsh would take for patterns."""
    words = command.split(" ")
    return " ".join(
        f"'{word}'" if re.search(r"[\[\]*?]", word) and "'" not in word else word for word in words
    )


def _write_keys(title: str, rows: list[tuple[str, Any, str]]) -> list[str]:
    if not rows:
        return []
    lines = ["", title] if title else []
    lines += ["", "| key | default | meaning |", "|---|---|---|"]
    return lines + [
        f"| `{key}` | {_show(value)} | {_escape(words)} |" for key, value, words in rows
    ]


def _write_choices(composition: Composition) -> list[str]:
    lines = ["", "## Choices", "", "| group | chosen | of |", "|---|---|---|"]
    for group, choice in composition.choices.items():
        options = ", ".join(f"`{option}`" for option in catalog.options(group))
        if options:
            lines.append(f"| [`{group}`](groups.md#{group}) | {_show_choice(choice)} | {options} |")
    return lines


def _show_choice(choice: Choice) -> str:
    names = choice if isinstance(choice, list) else [choice or "none"]
    return ", ".join(f"`{name}`" for name in names)


def _show(value: Any) -> str:
    """Return a value as it would be typed."""
    if value == "???":
        return "required"
    if isinstance(value, str):
        return f"`{value}`" if value else ""
    text = (
        yaml.safe_dump(value, default_flow_style=True, width=10_000)
        .strip()
        .removesuffix("...")
        .strip()
    )
    return "`" + text.replace("|", "\\|") + "`"


def _escape(text: str) -> str:
    """Return words that stand in a table's cell as they are."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([|*_\[\]])", r"\\\1", text)


def main(folder: Path) -> None:
    """Write the generated pages into a folder."""
    for path, text in write_pages().items():
        target = folder / Path(path).name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
