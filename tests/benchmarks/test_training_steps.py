"""What the benchmarks of training steps measure, on a network and patches that are small."""

import json
import sys

from benchmarks.gpu import training
from benchmarks.train import overhead


def test_trainer_takes_the_steps_of_the_bare_loop_and_of_branches(monkeypatch, capsys):
    """The same first losses: the same network on the same patches."""
    monkeypatch.setattr(
        sys, "argv", ["overhead.py", "--rounds", "1", "--batch", "1", "--patch", "8"]
    )
    overhead.main()
    printed = capsys.readouterr().out
    first, *others = printed.splitlines()[-1].partition(": ")[2].split(", ")
    assert len(others) == 3
    assert all(abs(float(loss) - float(first)) < 1e-4 for loss in others)
    assert "at most 5%" in printed
    assert "at least 4" in printed


def test_training_steps_are_timed_without_a_gpu_too(monkeypatch, tmp_path):
    arguments = ["training.py", "--batch", "2", "--patch", "8", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    training.main()
    (file,) = tmp_path.iterdir()
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    (check,) = (row for row in rows if row["kind"] == "check")
    assert not check["is_wrong"], check
    assert [row["name"] for row in rows if row["kind"] == "figure"] == [
        "plain steps, patches cut on the CPU",
        "steps in float32, patches cut on the device",
        "speed=auto over plain steps",
    ]
