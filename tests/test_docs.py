"""README and docs: links lead somewhere, commands are composed as they are written."""

import re
import shlex
from pathlib import Path

import pytest

from nas.cli.composition import compose_command

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as they are linked to."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def commands(page: Path) -> list[str]:
    """Each `nas COMMAND ...` of a page's code, alone on its line."""
    found = re.findall(
        r"^ *(?:\.venv/bin/)?nas ([a-z]+ .*|[a-z]+)$", page.read_text(encoding="utf-8"), re.MULTILINE
    )
    return [text for text in found if "COMMAND" not in text]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    for link in links(page):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


@pytest.mark.parametrize(
    ("page", "command"),
    [(page, text) for page in PAGES for text in commands(page)],
    ids=lambda value: str(value),
)
def test_commands_are_composed_as_they_are_written(page, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(
        (ROOT / "conf/space/span.yaml").read_text(encoding="utf-8"), encoding="utf-8"
    )
    name, *overrides = shlex.split(command, comments=True)
    assert compose_command(name, overrides).command == name


def test_the_first_page_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
