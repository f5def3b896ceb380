"""Who waits long for a lock says who holds it."""

import os
import subprocess
import sys
import threading

import pytest

from nas.system import file_locks, lock_waits
from nas.system.lock_waits import (
    describe_holders,
    hold_file,
    open_lock_file,
    take_patiently,
    telling,
)

pytestmark = pytest.mark.skipif(file_locks.fcntl is None, reason="needs flock")
HOLD = """
import sys
from nas.system import file_locks
from nas.system.lock_waits import open_lock_file
from pathlib import Path
handle = open_lock_file(Path(sys.argv[1]))
file_locks.take(handle, alone=sys.argv[2] == "alone")
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def hold(tmp_path):
    """Start processes that hold a lock until they are told to end."""
    running = []

    def start(how="alone"):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path / "lock"), how, "words-of-the-holder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def handle(tmp_path):
    handle = open_lock_file(tmp_path / "lock")
    yield handle
    os.close(handle)


@pytest.mark.skipif(not os.path.exists("/proc/locks"), reason="Linux tells who holds a lock")
def test_holders_are_named_with_their_commands(hold, handle):
    assert describe_holders(handle) == "another process"
    first, second = hold("share"), hold("share")
    words = describe_holders(handle)
    assert f"process {first.pid} (" in words
    assert f"process {second.pid} (" in words
    assert sys.executable in words
    assert len(words) < 250


def test_long_wait_is_told_once_to_who_listens(hold, handle, monkeypatch):
    monkeypatch.setattr(lock_waits, "PATIENCE_SECONDS", 0.05)
    holder, told, heard = hold(), [], threading.Event()

    def say(words):
        told.append(words)
        heard.set()

    def wait():
        with telling(say):
            take_patiently(handle, alone=True, what="device x")

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert heard.wait(60)
    holder.communicate("\n")
    waiter.join()
    assert len(told) == 1
    assert told[0].startswith("waiting for device x, held by ")
    if os.path.exists("/proc/locks"):
        assert f"process {holder.pid} (" in told[0]


def test_short_wait_is_not_told(hold, handle, monkeypatch, capsys):
    told = []
    with telling(told.append):
        take_patiently(handle, alone=True, what="x")  # nobody is in the way
        file_locks.drop(handle)
        holder = hold()
        ending = threading.Timer(0.1, holder.communicate, ["\n"])
        ending.start()
        take_patiently(handle, alone=True, what="x")
        ending.join()
    assert told == []


def test_nobody_speaks_once_the_wait_is_over(hold, handle, monkeypatch):
    """A worker says something else then, through the same pipe."""
    monkeypatch.setattr(lock_waits, "PATIENCE_SECONDS", 0.0)
    over, late = threading.Event(), []
    holder = hold()

    def say(words):
        holder.communicate("\n")  # the lock is free while this still speaks
        late.append(over.is_set())

    with telling(say):
        take_patiently(handle, alone=True, what="x")
        over.set()
    assert late == [False]


def test_wait_is_printed_where_nobody_listens(hold, handle, monkeypatch, capfd):
    monkeypatch.setattr(lock_waits, "PATIENCE_SECONDS", 0.0)
    holder = hold()
    print_line = lock_waits._print_line

    def say(words):
        print_line(words)
        holder.communicate("\n")

    with telling(say):
        take_patiently(handle, alone=False, what="x")
    assert capfd.readouterr().err.startswith("nas: waiting for x, held by ")
    assert lock_waits._listener.get() is print_line


def test_file_is_held_by_one_and_no_link_is_followed(hold, tmp_path):
    with hold_file(tmp_path / "lock", what="x"):
        other = open_lock_file(tmp_path / "lock")
        assert not file_locks.take(other, alone=True, wait=False)
    assert file_locks.take(other, alone=True, wait=False)
    os.close(other)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="link"):
        open_lock_file(tmp_path / "link")
    assert not (tmp_path / "target").exists()
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
