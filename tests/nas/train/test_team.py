"""Two processes of torchrun train one network: as one process does, and they end together."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nas.train.run.session import LAST
from nas.train.team import Team, check_shares
from tests.nas.train.run.trainings import make_recipe, open_session

ROOT = Path(__file__).parents[3]
SCRIPT = "tests.nas.train.run.trainings"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def start_pair(*arguments, cwd=ROOT):
    """Start two processes of a module; their output comes as one."""
    return subprocess.Popen(
        [*TORCHRUN, "-m", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        cwd=cwd,
    )


def read_weights(path):
    return torch.load(path, weights_only=True)


def measure_distance(state, wanted):
    assert state.keys() == wanted.keys()
    return max(float((state[name] - wanted[name]).abs().max()) for name in wanted)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The weights that one process comes to."""
    folder = tmp_path_factory.mktemp("alone")
    return open_session(folder, recipe=make_recipe().without_base()).run().net.state_dict()


def test_two_processes_come_to_the_weights_of_one(tmp_path, alone):
    """Two stages: plain, by Muon; in training form, distilled, with two batches a step."""
    with start_pair(SCRIPT, tmp_path, "whole") as pair:
        _, errors = pair.communicate()
    assert pair.returncode == 0, errors
    first, second = (read_weights(tmp_path / f"result{rank}.pt") for rank in ("", 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert measure_distance(first, alone) < 1e-6
    assert [(tmp_path / f"sizes{rank}").read_text() for rank in range(2)] == ["{1}", "{1}"]


def test_signal_to_one_process_ends_both_at_one_step_and_one_process_goes_on(tmp_path, alone):
    with start_pair(SCRIPT, tmp_path, "whole") as pair:
        for line in pair.stdout:
            if line == "10\n":  # in the second stage
                os.kill(int((tmp_path / "pid1").read_text()), signal.SIGINT)
    assert pair.returncode == 1  # torchrun's own
    saved = read_weights(tmp_path / LAST)
    assert saved["segment"] == 1
    assert 2 <= saved["trainer"]["done"] < 6
    found = open_session(tmp_path, recipe=make_recipe().without_base()).run().net.state_dict()
    assert measure_distance(found, alone) < 1e-6


def test_batch_that_cannot_be_shared_alike_is_refused():
    with pytest.raises(ValueError, match=r"^recipe\.stages\.residual\.patches\.batch_size: 2 pat"):
        check_shares(make_recipe(), 3)
    check_shares(make_recipe(), 2)


def test_process_alone_asks_nobody():
    team = Team()
    assert (team.average([1.5, 2.0]), team.find_largest(3)) == ([1.5, 2.0], 3)
    assert team.share("word") == "word"
