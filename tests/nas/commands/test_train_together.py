"""nas train under torchrun: two processes, one of which speaks."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.search_spaces.tiny import tiny_spec

ROOT = Path(__file__).parents[3]
SPEC = tiny_spec(channels=12, taps="all")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture
def train(tmp_path, pictures):
    """Start a training by two processes in an empty folder."""
    (tmp_path / "mine.json").write_text(SPEC.to_json())

    def start(*overrides):
        settings = [
            "arch=mine.json",
            "recipe=short",
            "validations=2",
            "device=cpu",
            "data=folder",
            f"data.train={pictures / 'train'}",
            f"data.val={pictures / 'val'}",
            "run=first",
        ]
        return subprocess.Popen(
            [*TORCHRUN, "-m", "nas", "train", *settings, *overrides],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        )

    return start


def list_own_lines(errors):
    """Return what nas said; torchrun's own report is left out."""
    return [line for line in errors.splitlines() if line.startswith("nas train")]


def test_one_process_writes_and_speaks(train, tmp_path):
    with train("recipe.smoke=true") as pair:
        printed, errors = pair.communicate()
    assert pair.returncode == 0, errors
    assert json.loads((tmp_path / "first" / "result.json").read_text())["steps"] == 6
    assert printed.count("Weights: first/weights/") == 1
    assert printed.count("whole: step 6 of 6") == 1
    assert printed.count("nas train: ") == 1  # what differs from the defaults
    assert not list_own_lines(errors)


def test_what_cannot_be_shared_is_refused_on_one_line(train, tmp_path):
    with train("recipe.stages.whole.patches.batch_size=3") as pair:
        _, errors = pair.communicate()
    (line,) = list_own_lines(errors)
    assert "recipe.stages.whole.patches.batch_size: 3 patches cannot be shared alike by 2" in line
    assert not (tmp_path / "first").exists()


def test_process_that_is_killed_ends_the_other_in_one_line_and_the_checkpoint_stays(
    train, tmp_path
):
    with train("steps=400", "validations=40") as pair:
        for line in pair.stdout:
            if "residual: step 16 " in line:
                os.kill(find_process(pair.pid, "1"), signal.SIGKILL)
        errors = pair.stderr.read()
    # torchrun asks the other to end as soon as it sees that one has, which may come first.
    (line,) = list_own_lines(errors)
    kept = "; the last checkpoint is kept: nas train run=first"
    assert line in (
        f"nas train: another process of torchrun has ended{kept}",
        "nas train: interrupted",
    )
    assert (tmp_path / "first" / "checkpoints" / "last.pt").is_file()


def find_process(parent, rank):
    """Return the process that torchrun started with a rank."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    ranks = {read_environment(child).get("RANK"): int(child) for child in children}
    return ranks[rank]


def read_environment(process):
    items = Path(f"/proc/{process}/environ").read_text().split("\0")
    return dict(item.split("=", 1) for item in items if item)
