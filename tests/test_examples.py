"""The scripts of examples/ run, and print what they are there for."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
PRINTS = {
    "build_and_profile": "139,104 parameters, 9.11 GFLOPs",
    "fuse_and_compare": "fused and plain differ by at most",
    "own_space": "num_blocks: 2, 3, 4",
    "score_own_numbers": "7.389  SPAN",
    "table_search": "largest first",
}


def test_every_example_is_listed():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(PRINTS)
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [name for name in PRINTS if f"`{name}.py`" not in page] == []


@pytest.mark.parametrize("name", PRINTS)
def test_example_prints(name, capsys):
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert PRINTS[name] in capsys.readouterr().out
