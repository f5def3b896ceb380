"""What all comparisons do: run what a results file lacks, one thread a process."""

import json
import os

import numpy as np
import pytest
import threadpoolctl

from benchmarks.shared.comparison import parser, quartiles, ratios, run_missing


def threads(method, seed, size):
    """A line of results that says with how many threads NumPy computes."""
    used = max(library["num_threads"] for library in threadpoolctl.threadpool_info())
    return {"method": method, "seed": seed, "size": size, "threads": used, "process": os.getpid()}


@pytest.fixture
def options(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    asked = parser("About.", ["a", "b"], "x.jsonl")
    return asked.parse_args(
        ["a", "--seeds", "2", "--workers", "1", "--results", str(tmp_path / "x.jsonl")]
    )


def test_only_what_is_missing_is_run_each_process_with_one_thread(options):
    there = {"method": "a", "seed": 0, "size": 3, "threads": "as it was"}
    other = {"method": "a", "seed": 1, "size": 4, "threads": "of another setting"}
    options.results.write_text("".join(json.dumps(line) + "\n" for line in (there, other)))
    shown = []
    found = run_missing(threads, options, {"size": 3}, shown.append)
    assert found == [there, *shown]
    assert [(line["seed"], line["threads"]) for line in shown] == [(1, 1)]
    assert shown[0]["process"] != os.getpid()
    assert run_missing(threads, options, {"size": 3}, shown.append) == found
    assert len(shown) == 1


def test_unknown_method_is_refused_with_those_that_are_known(capsys):
    with pytest.raises(SystemExit):
        parser("About.", ["a", "b"], "x.jsonl").parse_args(["c"])
    assert "c is no method; known: a, b" in capsys.readouterr().err
    assert parser("About.", ["a", "b"], "x.jsonl").parse_args([]).methods == ["a", "b"]


def test_quartiles_are_values_that_occurred_or_a_dash():
    assert quartiles(np.array([1.0, 2.0, 3.0, np.inf, np.inf])) == "3 (2 to -)"


def test_ratios_are_to_the_best_stock_method_of_those_of_ours_that_arrived():
    counts = {
        "slow": np.array([60.0, 60.0]),
        "best": np.array([40.0, 40.0]),
        "absent": np.array([]),
        "ours": np.array([10.0, 10.0]),
        "lost": np.array([np.inf, np.inf]),
    }
    found = list(
        ratios(
            lambda method: counts[method], ["slow", "best", "absent"], ["ours", "lost", "absent"]
        )
    )
    assert found == [("best", "ours", "4.00 times (4.00 to 4.00)")]
    assert list(ratios(lambda method: counts[method], ["absent"], ["ours"])) == []
