"""Real processes on one file, with flock and with stand-ins for Windows' byte ranges."""

import subprocess
import sys

import pytest

from nas.system import file_locks

WINDOWS = """
import fcntl, os, sys, types
def locking(handle, mode, count):
    first = os.lseek(handle, 0, os.SEEK_CUR)
    fcntl.lockf(handle, fcntl.LOCK_UN if mode == 0 else fcntl.LOCK_EX | fcntl.LOCK_NB, count, first)
sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_NBLCK=2, LK_UNLCK=0)
sys.modules["fcntl"] = None
"""
SERVE = """
import os, sys
from nas.system import file_locks
handle = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
for line in sys.stdin:
    word = line.strip()
    if word == "drop":
        print(file_locks.drop(handle), flush=True)
    else:
        print(file_locks.take(handle, alone=word.startswith("alone"), wait=word.endswith("wait")), flush=True)
"""


class Client:
    """A process that takes and drops locks on one file as it is told to."""

    def __init__(self, script, path):
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, word):
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def end(self):
        return self.process.stdout.readline().strip()

    def __call__(self, word):
        self.begin(word)
        return self.end()

    def kill(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture(params=["flock", "windows"])
def clients(request, tmp_path):
    pytest.importorskip("fcntl")
    script = (WINDOWS if request.param == "windows" else "") + SERVE
    made = [Client(script, tmp_path / "lock") for _ in range(3)]
    yield made
    for client in made:
        client.kill()


def test_a_lock_is_shared_by_many_or_held_by_one(clients):
    first, second, third = clients
    assert [client("share") for client in clients] == ["True"] * 3
    assert first("drop") == "None"
    assert first("alone") == "False"
    second("drop"), third("drop")
    assert first("alone") == "True"
    assert second("share") == "False"
    assert third("alone") == "False"
    first("drop")
    assert second("share") == "True"


def test_a_lock_is_free_when_its_holder_is_killed(clients):
    first, second, _ = clients
    assert first("alone") == "True"
    assert second("alone") == "False"
    first.kill()
    assert second("alone") == "True"


def test_a_lock_is_waited_for(clients):
    first, second, _ = clients
    assert first("share") == "True"
    second.begin("alone wait")
    first("drop")
    assert second.end() == "True"


def test_a_lock_that_is_not_held_is_dropped_in_peace(clients):
    assert clients[0]("drop") == "None"


def test_locks_are_given_to_all_where_the_system_has_none(monkeypatch):
    monkeypatch.setattr(file_locks, "fcntl", None)
    monkeypatch.setattr(file_locks, "msvcrt", None)
    assert not file_locks.are_there()
    assert file_locks.take(-1, alone=True)
    file_locks.drop(-1)
