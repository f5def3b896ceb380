# ruff: noqa: E501 - one case a line
"""STYLE section 2's import table, held by reading the imports."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# From low to high: a room imports rooms of lower floors and itself; rooms of one floor do not know each other.
FLOORS = (
    ("search_spaces.attentions", "search_spaces.limits"),
    ("search_spaces.spec",),
    ("search_spaces.chooser", "search_spaces.published"),
    ("search_spaces.spaces", "search_spaces.layers"),
    ("search_spaces.blocks", "search_spaces.frame", "search_spaces.reparam"),
    ("search_spaces.parts",),
    ("search_spaces.network",),
    ("search_spaces.initialise", "search_spaces.merging"),
    ("search_spaces.checkpoints",),
    ("search_spaces.official",),
    ("search_spaces",),  # the package itself: public names
    ("nas.score", "nas.system"),
    ("nas.record",),
    ("nas.analysis",),
    ("nas.data", "nas.losses", "nas.ops"),
    ("nas.deploy",),
    ("nas.measure",),
    ("nas.train", "nas.compress"),
    ("nas.search",),
    ("nas.report", "nas.export", "nas.upscale"),
    ("nas.cli",),
    ("nas.commands",),
    ("nas.api", "nas.__main__"),
    ("nas",),
)
KNOWN = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# Rooms that may import fewer of ours than lie below them: what they may, beside themselves.
ONLY = {
    "search_spaces.spaces": {
        "search_spaces.attentions",
        "search_spaces.limits",
        "search_spaces.spec",
        "search_spaces.chooser",
    },
    "nas.score": set[str](),
    "nas.system": set[str](),
    "nas.cli": {"nas.system"},
    "nas.record": {"search_spaces", "search_spaces.spec", "nas.score", "nas.system"},
    "nas.analysis": {
        "nas.system",
        "search_spaces",
        "search_spaces.spec",
        "search_spaces.published",
        "nas.record",
        "nas.score",
    },
    "nas.report": {
        "search_spaces",
        "search_spaces.spec",
        "nas.record",
        "nas.score",
        "nas.analysis",
    },
}
HOMES = {  # libraries, and the only rooms that know them
    "hydra": ("nas.cli", "nas.commands"),
    "omegaconf": ("nas.cli", "nas.commands"),
    "optuna": ("nas.search.store", "nas.search.samplers.optuna_samplers"),
    "sklearn": ("nas.search",),
    "plotly": ("nas.report",),
}
TORCH_FREE = (
    "search_spaces.attentions",
    "search_spaces.limits", "search_spaces.spec", "search_spaces.chooser", "search_spaces.published",
    "search_spaces.spaces", "nas.record", "nas.score", "nas.analysis", "nas.report", "nas.cli", "nas.commands.rank", "nas.commands.early", "nas.search.ranges",
)  # fmt: skip


def _modules() -> dict[str, Path]:
    found = {}
    for package in ("search_spaces", "nas"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = _modules()


def room(module: str) -> str:
    """Name the room that a module belongs to: the longest entry of the table that holds it."""
    if module in ("nas", "search_spaces"):
        return module
    parts = module.split(".")
    for length in range(len(parts), 1, -1):
        if ".".join(parts[:length]) in KNOWN:
            return ".".join(parts[:length])
    return ".".join(parts[:2])


def floor(name: str) -> int:
    """Give a room's floor."""
    assert name in KNOWN, f"{name} is no room of the table: give it a floor"
    return KNOWN[name]


def imports(name: str, tree: ast.Module) -> Iterator[str]:
    """List what a module imports, also inside functions and under TYPE_CHECKING; ours down to the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}, line {node.lineno}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else str(node.module)


IMPORTS = {
    name: sorted(set(imports(name, ast.parse(path.read_text())))) for name, path in MODULES.items()
}
OURS = {
    name: [other for other in found if other in MODULES and other != name]
    for name, found in IMPORTS.items()
}


def faults(name: str, found: list[str]) -> list[str]:
    """Say which of a module's imports the table forbids."""
    here, said = room(name), []
    for other in found:
        top, there = other.partition(".")[0], room(other)
        homes = HOMES.get(top)
        if homes and not any(f"{name}.".startswith(f"{home}.") for home in homes):
            said.append(f"{name} imports {other}: {top} is known to {' and '.join(homes)} alone")
        if top == "nas" and name.startswith("search_spaces"):
            said.append(f"{name} imports {other}: search_spaces never imports nas")
        if top == "torch" and any(f"{name}.".startswith(f"{free}.") for free in TORCH_FREE):
            said.append(f"{name} imports {other}: it has to import with torch absent")
        if top not in ("nas", "search_spaces") or there == here:
            continue
        if floor(there) >= floor(here):
            said.append(f"{name} imports {other}: {here} lies below or beside {there}")
        elif here in ONLY and there not in ONLY[here]:
            said.append(
                f"{name} imports {other}: {here} may import {', '.join(sorted(ONLY[here])) or 'none of ours'}"
            )
    return said


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_run_down_the_table(name):
    assert faults(name, IMPORTS[name]) == []


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("search_spaces.network", "nas.score"), ("search_spaces.spec", "optuna"), ("search_spaces.spaces.span", "torch"),
        ("search_spaces.spaces.span", "search_spaces.network"), ("nas.score", "torch"), ("nas.score", "nas.record"),
        ("nas.data.sets", "nas.train.fit"), ("nas.measure.cost", "nas.train.fit"), ("nas.train.fit", "nas.search.controller"),
        ("nas.search.controller", "hydra"), ("nas.search.controller", "nas.cli.door"), ("nas.report.page", "optuna"),
        ("nas.report.page", "nas.search.controller"), ("nas.search.x", "plotly.graph_objects"), ("nas.data.x", "omegaconf"),
        ("nas.losses.x", "nas.data.y"), ("nas.analysis.results", "nas.data.y"), ("nas.export.x", "nas.report.page"),
        ("nas.report.page", "search_spaces.network"), ("nas.search.controller", "optuna"), ("nas.search.samplers.random", "optuna"),
        ("nas.search.samplers.optuna_samplers_x", "optuna"), ("nas.search.model.rating", "optuna.distributions"),
    ],
)  # fmt: skip
def test_the_table_forbids(name, other):
    assert len(faults(name, [other])) >= 1


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("nas.train.fit", "nas.measure.quality"), ("nas.search.store.study", "optuna.samplers"), ("nas.search.samplers.optuna_samplers", "optuna"), ("nas.report.page", "nas.analysis.results"),
        ("nas.commands.rank", "nas.score"), ("nas.data.x", "nas.data.y"), ("nas.cli.door", "hydra"),
        ("nas.analysis.results", "nas.record"), ("nas.report.panels.x", "plotly.graph_objects"), ("nas.measure.x", "search_spaces"),
        ("search_spaces.blocks.spab", "torch"),
    ],
)  # fmt: skip
def test_the_table_allows(name, other):
    assert faults(name, [other]) == []


def test_there_are_no_circles():
    done: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for other in OURS[name]:
                walk(other, (*trail, name))
            done.add(name)

    for name in OURS:
        walk(name, ())


@pytest.mark.parametrize(
    "name", sorted(name for name, path in MODULES.items() if path.name == "__init__.py")
)
def test_package_files_hold_public_names_alone(name):
    """Imports, __all__ and a table of constants; functions only to import lazily (PEP 562)."""
    for node in ast.parse(MODULES[name].read_text()).body:
        if isinstance(node, ast.FunctionDef):
            assert node.name in ("__getattr__", "__dir__"), f"{name} defines {node.name}"
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            assert all(found == "__all__" or found.isupper() for found in names), (
                f"{name} sets {names}"
            )
        elif isinstance(node, ast.If):
            assert ast.unparse(node.test) == "TYPE_CHECKING", f"{name}, line {node.lineno}"
        else:
            docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            assert docstring or isinstance(node, ast.Import | ast.ImportFrom), (
                f"{name}, line {node.lineno}"
            )


def test_no_module_is_called_utils():
    assert [
        name
        for name in MODULES
        if name.rpartition(".")[2] in ("utils", "util", "helpers", "common", "misc")
    ] == []


def test_no_star_imports():
    for name, path in MODULES.items():
        stars = [
            node
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.alias) and node.name == "*"
        ]
        assert stars == [], name


def test_torch_free_modules_import_with_torch_absent():
    wanted = [
        name for name in MODULES if any(f"{name}.".startswith(f"{free}.") for free in TORCH_FREE)
    ]
    assert "nas.score" in wanted
    code = f"""
import importlib, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"{{name}} is absent", name=name)
sys.meta_path.insert(0, Blocker())
for name in {wanted}:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        sys.exit(f"{{name}}: {{error}}")
try:
    import torch
except ModuleNotFoundError:
    sys.exit(0)
sys.exit("torch was not blocked")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


def test_the_packages_of_the_distribution_are_all_there():
    """pyproject.toml lists packages by hand: a forgotten one is missing from the wheel."""
    import tomllib

    listed = set(
        tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    )
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    assert listed - {"nas.conf"} == packages
    assert importlib.util.find_spec("nas.conf") is not None
