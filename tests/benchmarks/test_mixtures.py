"""Which built-in data last: trainings on each mixture."""

import json
import sys

import pytest

from benchmarks.proxy import mixtures as benchmark
from nas.data.synthetic import pictures
from tests.nas.data.pictures import write_pairs


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(pictures, "COUNT", 1)


@pytest.fixture
def compare(monkeypatch, tmp_path, capsys):
    """Run the benchmark with trainings of one step; gives what it printed, and its lines."""
    for number, name in enumerate(benchmark.TEST_SETS):
        write_pairs(tmp_path / "data" / name / "HR", None, ["a"], first_seed=number)
    results = tmp_path / "mixtures.jsonl"
    monkeypatch.setattr(benchmark, "STEPS", (1,))

    def run(*arguments):
        options = [
            *arguments,
            "--shared",
            str(tmp_path),
            "--results",
            str(results),
            "--sizes",
            "12x1",
        ]
        monkeypatch.setattr(sys, "argv", ["mixtures.py", *options])
        benchmark.main()
        return capsys.readouterr().out, [
            json.loads(line) for line in results.read_text().splitlines()
        ]

    return run


def test_a_training_is_one_line_and_not_made_twice(compare, monkeypatch):
    printed, lines = compare("half", "synthetic")
    assert [line["mixture"] for line in lines] == ["half", "synthetic"]
    assert set(lines[0]["psnr_db"]) == {*benchmark.TEST_SETS, "val"}
    assert lines[0]["data"]["val"] == lines[1]["data"]["val"]
    assert lines[0]["data"]["train"] != lines[1]["data"]["train"]
    monkeypatch.setattr(benchmark, "train", None)
    again, kept = compare("half", "synthetic", "--table")
    assert kept == lines
    assert again.splitlines() == printed.splitlines()[-4:]
    assert again.splitlines()[2].startswith("| half | 1 | ")
