"""What `nas search` writes of latencies: what the clock says, in the mode that was asked for."""

import pandas as pd
import pytest

from nas.cli.door import main
from nas.measure import lock
from nas.measure.latency import meter
from nas.measure.latency.modes import MODES
from nas.search.backends import training
from nas.search.store.run_folder.runs import load_run
from search_spaces import ArchSpec
from tests.nas.measure.latency.clocks import evaluator_by_params, num_params, on_the_cpu
from tests.nas.search.sessions import arguments, make_pictures

BASELINE = 150_688  # parameters of SPAN


@pytest.fixture
def clocked(tmp_path, monkeypatch):
    """Run a search whose stopwatch says parameters, in microseconds; gives its exit status."""
    monkeypatch.setattr(lock, "lock_folder", lambda: tmp_path / "locks")
    monkeypatch.setattr(training, "ProxyEvaluator", evaluator_by_params)
    make_pictures(tmp_path / "pictures")

    def run(**changes):
        return main(
            ["search", f"run={tmp_path / 'run'}", *arguments(tmp_path / "pictures", **changes)]
        )

    return run


@pytest.mark.parametrize(("mode", "operators"), [("cpu", set()), ("challenge", {"conv_act"})])
def test_trials_hold_what_the_clock_says_in_the_mode_that_was_asked_for(
    clocked, tmp_path, monkeypatch, mode, operators
):
    monkeypatch.setitem(MODES, "challenge", on_the_cpu(MODES["challenge"]))
    assert clocked(trials=2, workers=1, **{"latency.mode": mode}) == 0
    rows = pd.read_csv(tmp_path / "run" / "trials.csv")
    assert rows["number"].tolist() == [0, 1, 2]
    params = [num_params(ArchSpec.from_json(arch)) for arch in rows["arch"]]
    assert params[0] == BASELINE
    assert rows["runtime_ms"].tolist() == pytest.approx([1e-3 * count for count in params])
    assert rows["runtime_ratio"].tolist() == pytest.approx([count / BASELINE for count in params])
    assert rows["baseline_ms"].tolist() == pytest.approx([150.688] * 3)
    assert set(rows["latency_mode"]) == {mode}
    assert set(rows["latency_sizes"]) == {"16x16"}
    records = load_run(tmp_path / "run").records
    assert records[0].latency.operators == ""
    assert all(operators <= set(record.latency.operators.split(",")) for record in records[1:])


def test_a_run_is_not_resumed_on_another_device(tiny_copy, monkeypatch, capsys):
    before = (tiny_copy / "trials.csv").read_bytes()
    monkeypatch.setattr(meter, "device_name", lambda device: "another CPU")
    assert main(["search", f"run={tiny_copy}", "trials=9"]) == 2
    refused = capsys.readouterr().err
    assert "latency: the device of run=" in refused
    assert "here it would be another CPU" in refused
    assert refused.count("\n") == 1
    assert (tiny_copy / "trials.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"latency.mode": "challenge"},
            "latency.mode=challenge needs a CUDA GPU, the device is cpu",
        ),
        ({"latency.mode": "fast"}, "latency: mode 'fast' is not known"),
        ({"latency.sizes": "nowhere"}, "sizes=nowhere: there is no such folder"),
        ({"latency.backend": "tensorrt"}, "latency.backend: expected one of torch, onnxruntime"),
    ],
)
def test_a_latency_that_cannot_be_read_is_refused_before_anything_is_written(
    clocked, tmp_path, capsys, changes, message
):
    assert clocked(**changes) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
