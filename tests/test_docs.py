"""README and docs: links lead somewhere, commands run as they are written, the reference is whole."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import skimage.data
import torch
import yaml
from PIL import Image
from sklearn.datasets import load_sample_image

from nas.cli import catalog
from nas.cli.composition import compose_command
from nas.cli.door import main
from search_spaces import ArchSpec, build, published

ROOT = Path(__file__).parents[1]
FRONT_PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
PAGES = [*FRONT_PAGES, ROOT / "examples/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN = [ROOT / "README.md", ROOT / "docs/quickstart.md"]

# What makes a command brief, by its name; the last of a key holds.
QUICK = ["latency.max_seconds=0.5", "latency.sizes=[[32,32]]"]
BRIEF = {
    "search": ["proxy.steps=3", "ladder_seeds=1", *QUICK, "workers=1"],
    "profile": QUICK,
    "train": ["steps=12", "validations=1", "device=cpu"],
}
TABLE = ["workers=1", "trials=12"]  # a search over a table trains nothing
NUM_TRIALS = {"default": 2, "resumed": 3}
# Commands that are not run, and why.
NOT_RUN = {"--version": "prints what was installed; tests/nas/cli holds it"}


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def find_blocks(page: Path, language: str) -> list[str]:
    """Return the fenced code of a language; what is indented in a list is moved to the left."""
    blocks = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", read(page), re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", code, flags=re.MULTILINE) for indent, code in blocks]


def find_links(page: Path) -> list[str]:
    code = re.compile(r"^ *```.*?^ *```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", code.sub("", read(page)))


def find_anchors(page: Path) -> set[str]:
    """Return the names of a page's headings, as they are linked to."""
    heads = re.findall(r"^#+ (.+)$", read(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def find_commands(page: Path) -> list[str]:
    """Return each `nas ...` that stands alone on a line of code."""
    lines = [line for block in find_blocks(page, "sh") for line in block.splitlines()]
    return [line.removeprefix("nas ") for line in lines if line.startswith("nas ")]


COMMANDS = [
    (page, text)
    for page in PAGES
    for text in find_commands(page)
    if "<" not in text and text not in NOT_RUN
]


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_to_files_and_headings(page):
    for link in find_links(page):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page_name(page)}: {link}"
        assert not anchor or anchor in find_anchors(target), f"{page_name(page)}: {link}"


def test_every_page_is_linked_from_another():
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in find_links(page)
    }
    lonely = {page_name(page) for page in PAGES if page not in linked}
    assert lonely == {"README.md", "docs/index.md"}


def test_the_list_of_spaces_holds_every_space_that_ships():
    listed = re.findall(
        r"^\| `(\w+)` \| .* \| .* \|$", read(ROOT / "docs/networks.md"), re.MULTILINE
    )
    shipped = {path.stem for path in (ROOT / "conf/space").glob("*.yaml")}
    assert shipped <= set(listed)


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=str)
def test_commands_are_composed_as_they_are_written(page, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(read(ROOT / "conf/space/span.yaml"), encoding="utf-8")
    name, *overrides = shlex.split(command, comments=True)
    assert compose_command(name, overrides).command == name


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=str)
def test_commands_mean_the_same_in_every_shell(page, command):
    words = shlex.shlex(command, posix=False, punctuation_chars=False)
    words.whitespace_split, words.commenters = True, "#"
    for word in words:
        assert word[0] == "'" or not re.search(r"[][{}()*?~<>$!&;|\"]", word), (
            f"quote {word} in '...'"
        )


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder to work in: photographs under data/, released weights, and the pages' own files."""
    photographs = {
        "BSDS200": {"astronaut": skimage.data.astronaut(), "coffee": skimage.data.coffee()},
        "Set14": {"chelsea": skimage.data.chelsea()},
        "Set5": {"china": load_sample_image("china.jpg")},
    }
    for folder, images in photographs.items():
        (tmp_path / "data" / folder).mkdir(parents=True)
        for name, pixels in images.items():
            Image.fromarray(pixels[:288, :384]).save(tmp_path / "data" / folder / f"{name}.png")
    torch.save({"params": build(published("span")).state_dict()}, tmp_path / "SPAN.pth")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_brief(command: str, folder: Path) -> list[str]:
    """Return a command's words with what makes it brief, and with data/ of a folder for /data."""
    name, *overrides = shlex.split(command.replace("/data/", f"{folder}/data/"), comments=True)
    if name != "search":
        return [name, *overrides, *BRIEF.get(name, [])]
    if "evaluator=table" in overrides:
        return [name, *overrides, *TABLE]
    is_resumed = any((folder / word[4:]).exists() for word in overrides if word.startswith("run="))
    num_trials = NUM_TRIALS["resumed" if is_resumed else "default"]
    return [name, *overrides, *BRIEF[name], f"trials={num_trials}"]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=page_name)
def test_commands_run_one_after_another(page, desk):
    for number, block in enumerate(find_blocks(page, "yaml")):
        assert number == 0, "name the file of each block here"
        (desk / "mine.yaml").write_text(block, encoding="utf-8")
    commands = [text for text in find_commands(page) if text not in NOT_RUN]
    assert commands
    for command in commands:
        assert main(make_brief(command, desk)) == 0, command
    if page.name == "quickstart.md":  # what it says of its export holds for it
        for code in find_blocks(page, "python"):
            exec(compile(code, page.name, "exec"), {"__name__": page.name})
    assert list(desk.glob("runs/*/report.html"))
    assert list(desk.glob("exports/*/arch.json"))


@pytest.mark.parametrize(
    ("page", "code"),
    [
        (page, code)
        for page in (ROOT / "README.md", ROOT / "docs/howto/python.md")
        for code in find_blocks(page, "python")
    ],
    ids=lambda value: page_name(value) if isinstance(value, Path) else value.splitlines()[0],
)
def test_python_runs(page, code, desk):
    exec(compile(code, page.name, "exec"), {"__name__": page.name})


@pytest.mark.parametrize(
    ("page", "text"),
    [(page, text) for page in PAGES for text in find_blocks(page, "yaml") if "<name>" not in text],
    ids=lambda value: page_name(value) if isinstance(value, Path) else "",
)
def test_yaml_is_a_space_or_a_network(page, text, tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    if "_target_" in text:
        assert main(["spaces", f"space={file}"]) == 0
        assert "architectures" in capsys.readouterr().out
    else:
        assert isinstance(build(ArchSpec.from_dict(yaml.safe_load(text))), torch.nn.Module)


def test_the_first_page_is_short():
    assert len(read(ROOT / "README.md").splitlines()) <= 150


def load_script(name: str):
    """Return a script of docs/_scripts as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"docs/_scripts/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("command", catalog.commands())
def test_reference_holds_every_key_of_a_command(command):
    page = load_script("reference").write_command(command)
    keys = re.findall(r"^\| `([\w.]+)` \| .+ \| (.*) \|$", page, re.MULTILINE)
    own = set(catalog.comments(f"{catalog.COMMANDS}/{command}"))
    groups = {"defaults", *compose_command(command, []).choices}
    parents = {key.rpartition(".")[0] for key in own}
    assert {key for key, _ in keys} == own - groups - parents
    assert all(words for _, words in keys), "each key has a meaning"


def test_reference_and_help_name_the_same_commands():
    navigation = read(ROOT / "mkdocs.yml")
    index = read(ROOT / "docs/reference/index.md")
    for command in catalog.commands():
        assert f"reference/{command}.md" in navigation
        assert f"| `nas {command}` |" in index


def test_reference_holds_every_option():
    page = load_script("reference").write_groups()
    folders = [
        path
        for path in (ROOT / "conf").iterdir()
        if path.is_dir() and path.name != catalog.COMMANDS
    ]
    options = [f"### {path.name}={file.stem}" for path in folders for file in path.glob("*.yaml")]
    assert options
    assert [option for option in options if option not in page] == []


def test_pictures_are_what_the_script_draws(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs/_scripts")
    script = load_script("pictures")
    monkeypatch.setattr(script, "PICTURES", tmp_path)
    script.main()
    for file in tmp_path.iterdir():
        assert file.read_bytes() == (ROOT / "docs/pictures" / file.name).read_bytes(), (
            "make docs draws it"
        )


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="pip install 'esr-nas[docs]'")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--site-dir",
        str(tmp_path / "site"),
    ]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site/reference/search/index.html").read_text(encoding="utf-8")
    assert "ladder_seeds" in page
    loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)', page)
    assert loaded == [], "the site loads nothing from elsewhere"
