"""What the scripts share: results files, command lines, tables; their examples run."""

import doctest
import importlib

import pytest

from benchmarks.shared.arguments import make_parser, pick_names
from benchmarks.shared.lines import append_line, read_lines


@pytest.mark.parametrize("name", ["arguments", "comparison", "lines", "ranks", "tables"])
def test_examples_give_what_they_say(name):
    outcome = doctest.testmod(importlib.import_module(f"benchmarks.shared.{name}"))
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_lines_are_those_of_a_setting_and_half_a_line_costs_itself_alone(tmp_path):
    path = tmp_path / "lines.jsonl"
    assert read_lines(path) == []
    lines = [{"size": 1, "seed": seed} for seed in range(3)] + [{"size": 2, "seed": 0}]
    for line in lines:
        append_line(path, line)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"size": 1, "se')
    assert read_lines(path) == lines
    assert read_lines(path, {"size": 1}) == lines[:3]
    assert read_lines(path, {"size": 1, "other": 0}) == []


def test_what_is_no_number_is_not_written(tmp_path):
    path = tmp_path / "lines.jsonl"
    with pytest.raises(ValueError, match="JSON compliant"):
        append_line(path, {"psnr_db": float("nan")})
    assert read_lines(path) == []


def test_names_are_all_by_default_and_unknown_ones_are_refused(capsys):
    parser = make_parser("About.")
    assert pick_names(parser, [], ["a", "b"], "method") == ["a", "b"]
    assert pick_names(parser, ["b"], ["a", "b"], "method") == ["b"]
    with pytest.raises(SystemExit) as end:
        pick_names(parser, ["c", "b"], ["a", "b"], "method")
    assert end.value.code == 2
    assert "c is no method; known: a, b" in capsys.readouterr().err
