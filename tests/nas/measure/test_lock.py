import os
import signal
import subprocess
import sys
import threading

from nas.measure.lock import exclusive

HOLDER = """
import sys, time
from pathlib import Path
from nas.measure.lock import exclusive
with exclusive("cpu", folder=Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


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
    assert [path.name for path in tmp_path.iterdir()] == ["GPU-1_2.lock"]


def test_devices_do_not_wait_for_each_other(tmp_path):
    with exclusive("cpu", folder=tmp_path), exclusive("GPU-1", folder=tmp_path):
        assert len(list(tmp_path.iterdir())) == 2


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    entered = threading.Event()

    def wait():
        with exclusive("cpu", folder=tmp_path):
            entered.set()

    waiter = threading.Thread(target=wait, daemon=True)
    waiter.start()
    assert not entered.wait(0.2)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert entered.wait(20)
    waiter.join()
