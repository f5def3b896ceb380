"""The journey of a draft: a search, a pick, its files for other engines."""

import importlib.util
import subprocess
import sys

import pytest

from nas.cli.door import main
from tests.nas.search.sessions import arguments
from tests.once import make_once


@pytest.fixture(scope="module")
def plain_run(pictures, tmp_path_factory):
    """A search of one small network that sees pixels in [0, 1]."""

    def make(folder):
        space = {
            "normalise": "false", "num_blocks": "[1,2]", "channels": "[8,12]", "skip": "[none]",
            "attention": "[parameter_free]", "activation": "[silu]", "taps": "[ends]",
        }  # fmt: skip
        changes = {f"space.{name}": value for name, value in space.items()}
        settings = arguments(pictures, trials=1, workers=1, **changes)
        command = [sys.executable, "-m", "nas", "search", "run=plain", *settings]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        assert done.returncode == 0, done.stderr

    return make_once(tmp_path_factory, "plain_run", make) / "plain"


@pytest.mark.parametrize(
    ("name", "suffixes"), [("mpv", {".glsl"}), ("ncnn", {".param", ".bin"})], ids=["mpv", "ncnn"]
)
def test_draft_of_a_searched_network_leaves_for_an_engine(
    name, suffixes, plain_run, tmp_path, request
):
    if name == "mpv":
        request.getfixturevalue("renderer")
    if name == "ncnn" and importlib.util.find_spec("pnnx") is None:
        pytest.skip("pnnx is not installed: pip install 'esr-nas[ncnn]'")

    out = tmp_path / "out"
    overrides = [f"run={plain_run}", "pick=fastest", f"formats=[{name}]", f"out={out}"]
    assert main(["export", *overrides]) == 0
    drafts = [path for path in out.iterdir() if path.stem.endswith("_draft")]
    assert {path.suffix for path in drafts} == suffixes
    # The check of the files, which says by how much they differ, is on the card.
    assert f"| {name} |" in (out / "card.md").read_text()
