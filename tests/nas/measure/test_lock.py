"""Real processes: threads of one would hold the locks too, but could not be killed."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from nas.measure import lock
from nas.measure.lock import exclusive, shared, users

# A word a line of what a process does, with the machine's clock: these lines tell who overlapped whom.
TRAINER = """
import sys, time
from pathlib import Path
from nas.measure.lock import shared
with shared("cpu", folder=Path(sys.argv[1])) as share:
    print("ready", flush=True)
    while True:
        start = time.monotonic()
        time.sleep(0.02)
        print("step", start, time.monotonic(), flush=True)
        share.give_way()
"""
MEASURER = """
import sys, time
from pathlib import Path
from nas.measure.lock import exclusive
for _ in range(int(sys.argv[2])):
    asked = time.monotonic()
    with exclusive("cpu", folder=Path(sys.argv[1])):
        start = time.monotonic()
        time.sleep(0.1)
        print("hold", start, time.monotonic(), asked, flush=True)
print("done", flush=True)
"""
HOLDER = """
import sys, time
from pathlib import Path
from nas.measure import lock
with getattr(lock, sys.argv[2])("cpu", folder=Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(60)
"""


class Process:
    """A script in a process of its own, whose lines are read as they come."""

    def __init__(self, script, *arguments):
        command = [sys.executable, "-c", script, *map(str, arguments)]
        self.popen = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.lines = []
        self.news = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.popen.stdout:
            with self.news:
                self.lines.append(line.split())
                self.news.notify_all()

    def wait_for(self, word, count=1):
        with self.news:
            assert self.news.wait_for(lambda: len(self.times(word)) >= count, timeout=60), (
                self.lines
            )

    def times(self, word):
        """Start, end and what else was told under a word."""
        return [tuple(map(float, rest)) for first, *rest in self.lines if first == word]

    def kill(self):
        self.popen.send_signal(signal.SIGKILL)  # nothing where it has ended
        self.popen.wait()
        self.reader.join()
        self.popen.stdout.close()


@pytest.fixture
def start(tmp_path):
    running = []

    def begin(script, *arguments):
        running.append(Process(script, tmp_path, *arguments))
        return running[-1]

    yield begin
    for process in running:
        process.kill()


def overlap(one, other):
    return one[0] < other[1] and other[0] < one[1]


def test_no_training_step_overlaps_a_measurement_and_all_get_on(start):
    """Two trainings and two measurers, who want the device again as soon as they have given it back."""
    trainers = [start(TRAINER) for _ in range(2)]
    for trainer in trainers:
        trainer.wait_for("step", 3)
    measurers = [start(MEASURER, 8) for _ in range(2)]
    for measurer in measurers:
        measurer.wait_for("done")
    for trainer in trainers:  # they go on afterwards
        trainer.wait_for("step", len(trainer.times("step")) + 2)
        trainer.kill()
    holds = [hold[:2] for measurer in measurers for hold in measurer.times("hold")]
    steps = [trainer.times("step") for trainer in trainers]
    assert len(holds) == 16
    assert not [(a, b) for a in holds for b in holds if a != b and overlap(a, b)]
    assert not [
        (step, hold) for own in steps for step in own for hold in holds if overlap(step, hold)
    ]
    holds.sort()
    for own in steps:  # between two holds everyone has a turn
        for (_, before), (after, _) in itertools.pairwise(holds):
            assert any(before <= first and last <= after for first, last in own)


def test_two_trainings_share_a_device(start):
    first, second = start(TRAINER), start(TRAINER)
    first.wait_for("step", 3)
    second.wait_for("step", 3)
    first.wait_for("step", len(first.times("step")) + 3)


@pytest.mark.parametrize("kind", ["exclusive", "shared"])
def test_a_killed_process_frees_the_device(start, tmp_path, kind):
    holder = start(HOLDER, kind)
    holder.wait_for("ready")
    entered = threading.Event()

    def wait():
        with exclusive("cpu", folder=tmp_path):
            entered.set()

    waiter = threading.Thread(target=wait, daemon=True)
    waiter.start()
    assert not entered.wait(0.2)
    holder.kill()
    assert entered.wait(20)
    waiter.join()


def test_a_training_that_is_killed_in_its_turn_does_not_block_the_next_measurement(start, tmp_path):
    trainer = start(TRAINER)
    trainer.wait_for("step")
    with exclusive("cpu", folder=tmp_path):
        time.sleep(0.5)  # its turn is then 50 ms, within which it is killed
    trainer.kill()
    with exclusive("cpu", folder=tmp_path):
        pass


def test_a_training_makes_way_a_second_after_its_turn_began_however_long_it_had_waited(
    tmp_path, monkeypatch
):
    now = [0.0]
    monkeypatch.setattr(lock.time, "monotonic", lambda: now[0])

    def measure(seconds):
        with exclusive("cpu", folder=tmp_path):
            now[0] += seconds

    with shared("cpu", folder=tmp_path) as share:
        for seconds in (60.0, 0.0):
            measurement = threading.Thread(target=measure, args=(seconds,), daemon=True)
            measurement.start()
            for _ in range(200):  # steps; the clock stands still between the measurements
                share.give_way()
                measurement.join(0.01)
                if not measurement.is_alive():
                    break
            assert not measurement.is_alive()
            now[0] += 1.0


def test_a_device_is_held_by_one_at_a_time(tmp_path):
    inside, most = 0, 0

    def work():
        nonlocal inside, most
        for _ in range(20):
            with exclusive("GPU-1/2", folder=tmp_path):
                inside += 1
                most = max(most, inside)
                os.sched_yield()
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert all(path.name.startswith("GPU-1_2.") for path in tmp_path.iterdir())


def test_devices_do_not_wait_for_each_other(tmp_path):
    with exclusive("cpu", folder=tmp_path), exclusive("GPU-1", folder=tmp_path):
        pass


def test_a_long_hold_lets_others_in_and_a_short_one_does_not(tmp_path, monkeypatch):
    told = []

    def other():
        with exclusive("cpu", folder=tmp_path):
            told.append("other")

    with exclusive("cpu", folder=tmp_path) as hold:
        waiter = threading.Thread(target=other)
        waiter.start()
        time.sleep(0.1)
        assert not hold.pause()
        assert told == []
        monkeypatch.setattr(lock, "MAX_HOLD_SECONDS", 0.0)
        while not told:  # nothing says which of two that wait the kernel wakes first
            assert hold.pause()
        told.append("mine")
    waiter.join()
    assert told == ["other", "mine"]


def test_what_runs_on_the_device_ends_before_it_is_given_away(tmp_path):
    told = []
    with shared("cpu", settle=lambda: told.append("settled"), folder=tmp_path) as share:
        share.give_way()
        assert told == []

        def measure():
            with exclusive("cpu", folder=tmp_path):
                told.append("measured")

        measurer = threading.Thread(target=measure)
        measurer.start()
        while not told:
            share.give_way()
        assert told[0] == "settled"
        share.give_way()
        measurer.join()
    assert told[:2] == ["settled", "measured"]


def test_processes_that_use_the_lock_are_known_while_they_live(start, tmp_path):
    assert users("cpu", folder=tmp_path) == set()
    trainer = start(TRAINER)
    trainer.wait_for("ready")
    with exclusive("cpu", folder=tmp_path):
        assert users("cpu", folder=tmp_path) == {os.getpid(), trainer.popen.pid}
    trainer.kill()
    assert users("cpu", folder=tmp_path) == {os.getpid()}
    assert users("GPU-1", folder=tmp_path) == set()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
@pytest.mark.parametrize("kind", ["link", "writable by all"])
def test_a_lock_folder_that_a_stranger_made_is_refused_with_a_way_out(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = lock.lock_folder()
    (tmp_path / "theirs").mkdir()
    if kind == "link":
        folder.symlink_to(tmp_path / "theirs")
    else:
        folder.mkdir()
        folder.chmod(0o777)
    with pytest.raises(PermissionError, match=r"esr-nas-\d+ .*; remove it, or .* TMPDIR=/path$"):
        exclusive("cpu").__enter__()
    assert list((tmp_path / "theirs").iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_lock_files_are_their_users_alone_and_no_link_is_followed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with exclusive("cpu"):
        folder = lock.lock_folder()
        modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert set(modes.values()) == {0o600, 0o700}
    (folder / "cpu.want.lock").unlink()
    (folder / "cpu.want.lock").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic links"):
        exclusive("cpu").__enter__()
    assert not (tmp_path / "target").exists()


def test_a_process_is_no_user_any_more_when_it_has_ended(tmp_path):
    script = "from nas.measure.lock import shared\nimport pathlib, sys\n"
    script += "with shared('cpu', folder=pathlib.Path(sys.argv[1])): print('in')\n"
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    assert list((tmp_path / "cpu.users").iterdir()) == []
