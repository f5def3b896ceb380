"""Ctrl-C reaches workers too, from their first moment: it is the parent's to decide."""

import os
import signal
import time
from functools import partial

import pytest

from nas.search.engines.base import Placement, Task
from nas.search.engines.local import LocalEngine
from nas.search.engines.tasks import run_tasks, started


class Echo:
    """An evaluator, as far as one task needs it."""

    def read_test(self, spec, say):
        return spec


def make_echo(*, device=None):
    return Echo()


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no signal masks here")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_worker_that_is_loading_does_not_hear_the_terminal(number, capfd):
    engine = LocalEngine()
    with started(engine, partial(make_echo), Placement(num_workers=1, num_per_host=1)):
        (worker,) = engine._workers
        for _ in range(6):
            os.kill(worker.process.pid, number)
            time.sleep(0.05)
        task = Task(key="1", method="read_test", args=("x",))
        assert [result.value for result in run_tasks(engine, [task])] == ["x"]
        assert engine._workers == [worker]
    assert capfd.readouterr().err == ""
