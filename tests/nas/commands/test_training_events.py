"""Event files of a training, as TensorBoard reads them."""

import importlib.util
import os
import sys

import pytest

from nas.cli.door import main
from nas.commands.training.events import EVENTS
from nas.train.run.log import read_log
from tests.nas.commands.small_training import list_keys
from tests.search_spaces.tiny import tiny_spec

SPEC = tiny_spec(channels=12, taps="all")
needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None,
    reason="tensorboard is not installed: pip install 'esr-nas[tensorboard]'",
)


@pytest.fixture
def settings(tmp_path, monkeypatch, pictures):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.json").write_text(SPEC.to_json())
    return [*list_keys(pictures), "tensorboard=true"]


def read_points(run):
    """Return (step, value) by the name of a curve, as they lie in the files."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    points = {}
    for path in sorted((run / EVENTS).iterdir()):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                point = (event.step, pytest.approx(value.tensor.float_val[0], rel=1e-6))
                points.setdefault(value.tag, []).append(point)
    return points


@needs_tensorboard
def test_each_reading_is_one_point_of_each_curve_also_after_a_resume(settings, tmp_path):
    assert main(["train", *settings, "run=first"]) == 0
    run = tmp_path / "first"
    # A stage starts at the step at which the one before it has ended: that is one point.
    _, all_readings = read_log(run)
    readings = list({one.step: one for one in reversed(all_readings)}.values())[::-1]
    wanted = {
        "PSNR on val, dB": [(one.step, one.psnr_db) for one in readings],
        "rate factor": [(one.step, one.rate) for one in readings],
        "losses/l1": [(one.step, one.losses["l1"]) for one in readings if one.losses],
    }
    assert read_points(run) == wanted

    # Stopped after its last checkpoint: a second session writes the same points once.
    (run / "result.json").unlink()
    assert main(["train", "run=first"]) == 0
    assert read_points(run) == wanted

    # Nobody has to look at it: whether it is written may change.
    (run / "result.json").unlink()
    assert main(["train", "run=first", "tensorboard=false"]) == 0


@needs_tensorboard
def test_event_files_that_cannot_be_written_end_no_training(settings, tmp_path, capsys):
    assert main(["train", *settings, "tensorboard=false", "run=first"]) == 0
    (tmp_path / "first" / "result.json").unlink()
    (tmp_path / "first" / EVENTS).write_text("a file where the folder would be")
    assert main(["train", "run=first", "tensorboard=true"]) == 0
    assert "tensorboard failed" in capsys.readouterr().err
    assert (tmp_path / "first" / "result.json").is_file()


def test_missing_package_is_said_before_anything_is_opened(settings, tmp_path, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name)
    )
    assert main(["train", *settings, "data.train=nowhere", "run=first"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "pip install 'esr-nas[tensorboard]'" in error
    assert sorted(os.listdir(tmp_path)) == ["mine.json"]
    assert "tensorboard.summary" not in sys.modules or find("tensorboard")
