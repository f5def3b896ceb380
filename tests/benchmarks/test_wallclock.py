"""Hypervolumes of runs, and what is said of pairs of them."""

import pandas as pd
import pytest

from benchmarks.search import wallclock
from nas.cli.door import main as nas


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished search."""
    folder = tmp_path_factory.mktemp("run")
    table = [
        "evaluator=table",
        "space=esr_bench_mini",
        "challenge=esr_bench_mini",
        "proxy.steps=2000",
    ]
    assert nas(["search", f"run={folder}", *table, "fidelity=rungs", "trials=12", "workers=1"]) == 0
    return folder


def test_only_whole_trainings_count_above_gate_and_base(run):
    found = wallclock.found(run)
    rows = pd.read_csv(run / "trials.csv")
    whole = rows[(rows["state"] == "complete") & (rows["fidelity"] == 2000)]
    assert (found["whole"], found["trials"]) == (len(whole) - 1, len(rows) - 1)
    assert found["whole"] < found["trials"]
    assert 0 < found["gate"] < found["base"]
    gains = whole["psnr_db"] - whole["psnr_base_db"]
    assert found["base"] < gains.max() * (1 - whole["runtime_ratio"].min())


def test_differences_are_paired_by_seed_and_what_lacks_its_pair_is_left_out():
    def line(method, seed, gate):
        return {
            "method": method,
            "seed": seed,
            "gate": gate,
            "base": 10 * gate,
            "whole": 3,
            "trials": 5,
        }

    first, second = "cost_aware_rungs", "nsga2"
    lines = [line(second, 0, 0.1), line(first, 2, 0.5), line(first, 0, 0.3), line(second, 2, 0.1)]
    said = "\n".join(wallclock.report([*lines, line(first, 1, 9.0)]))
    assert "| 0 | 0.3000 (3 of 5 trials whole) | - | 0.1000 (3 of 5 trials whole) |" in said
    assert "above the gate, cost_aware_rungs less nsga2, 2 seeds: 0.4000 and 0.1000 dB, " in said
    assert "difference +0.3000 (+0.2000 to +0.4000)" in said
    assert "difference +3.0000" in said
    assert "cost_aware_open less" not in said
