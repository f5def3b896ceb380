"""What `nas spaces` lists, and a space that is a file of the user's."""

import re
from pathlib import Path

import pytest

from nas.cli.door import main
from search_spaces.blocks import BLOCKS
from search_spaces.layers.attention import ATTENTIONS
from search_spaces.published import names
from search_spaces.reparam import FORMS
from tests.nas.search.sessions import arguments
from tests.search_spaces.spaces import SPACES

GUIDE = Path(__file__).parents[3] / "docs" / "howto" / "space.md"


@pytest.fixture
def mine(tmp_path):
    """The space of the guide."""
    text = GUIDE.read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    path = tmp_path / "mine.yaml"
    path.write_text(block[1], encoding="utf-8")
    return path


def test_spaces_networks_and_blocks_are_listed_with_a_line_each(capsys):
    assert main(["spaces"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    told = {words[0]: words[1:] for words in lines if len(words) > 1}  # else the head of a list
    for name in (*SPACES, *(f"published/{name}" for name in names()), *BLOCKS, *ATTENTIONS, *FORMS):
        assert len(told[name]) > 2, name
    assert "C1([head_0(n), head_1(n), ...])" in " ".join(told["mhcb"])  # brackets are no markup


def test_a_space_tells_its_size_its_ends_and_what_it_contains(capsys):
    assert main(["spaces", "space=esr_bench_mini"]) == 0
    printed = capsys.readouterr().out
    assert "144 architectures, 144 ways to decide" in printed
    assert re.search(r"cheapest: 0\.\d+ GFLOPs, [\d,]+ parameters: spab 8 ch", printed)
    assert re.search(r"dearest: .* 4× spab 20 ch, SiLU, conv1x1 attention", printed)
    assert "contains: no published network" in printed
    assert re.search(r"num_blocks +1, 2, 3, 4", printed)


def test_the_space_of_the_guide_is_a_file_like_any_other(mine, capsys):
    assert main(["spaces", f"space={mine}", "space.channels=[16,24]", "scale=2"]) == 0
    printed = capsys.readouterr().out
    assert "800 architectures" in printed
    assert re.search(r"channels +16, 24", printed)


def test_a_search_in_ones_own_space_is_resumed_from_anywhere(
    mine, pictures, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    quick = [
        setting
        for setting in arguments(pictures, trials=1, workers=1)
        if not setting.startswith("space.")
    ]
    own = ["space=mine.yaml", "space.channels=[8]", "space.num_blocks=[2,3]"]
    assert main(["search", "run=run", *own, *quick]) == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert main(["search", f"run={tmp_path / 'run'}", "trials=2"]) == 0
    rows = (tmp_path / "run" / "trials.csv").read_text().splitlines()
    assert len(rows) == 1 + 3
    assert "2 trials done" in capsys.readouterr().out


def test_a_file_that_is_not_there_is_refused(capsys):
    assert main(["spaces", "space=nowhere.yaml"]) == 2
    assert "space=nowhere.yaml: there is no such file" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["spaces", "search"])
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("num_blocks: [2, 3, 4]", "num_blocks: [2, 3", r"mine.yaml: is no YAML or JSON: .* in line \d+, col"),
        ("scale:", "\tscale:", "mine.yaml: is no YAML or JSON: found .*tab.* in line 3, "),
        ("kind: rfdb", "kind: rdfb", "it holds networks that cannot be built: block.: block kind 'rdfb'"),
        ("$channels/2", "$channels/0", r"space.blocks.rfdb: \$channels/0 must be a share of whole numbers"),
        ("taps: {last", "taps: {lst: [lst], last", "frames.residual.taps: 'lst' is no feature; known: stem"),
        ("contains: []", "contains: [spam]", "space.contains: spam is no published network; known: amcanet"),
    ],
)  # fmt: skip
def test_a_mistake_in_ones_own_space_is_one_line(
    mine, command, old, new, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    text = mine.read_text(encoding="utf-8")
    assert old in text
    mine.write_text(text.replace(old, new), encoding="utf-8")
    assert main([command, f"space={mine}"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert re.search(message, told[0])
    assert list(tmp_path.iterdir()) == [mine]
