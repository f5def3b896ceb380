"""Several trainings at a time on one device, each in a process of its own."""

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nas.cli.exit_status import OK
from nas.commands.training.request import TrainingRequest
from nas.system.cores import num_cores

CHILD = "nas.commands.training.child"  # the module that a process runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training.

    Attributes:
        label: what its lines begin with.
        make_request: asked as it starts: its hours are a share of what is left then.
    """

    label: str
    make_request: Callable[[], TrainingRequest]


class SideBySide:
    """Runs trainings, so many at a time, and passes on what they print.

    Args:
        num_lanes: trainings at a time.
        tell: is given each line that one of them prints, with its label before it.
    """

    def __init__(self, num_lanes: int, tell: Callable[[str], None]) -> None:
        self._num_lanes = num_lanes
        self._tell = tell
        self._running: dict[subprocess.Popen[bytes], str] = {}
        self._lines: queue.Queue[tuple[subprocess.Popen[bytes], str | None]] = queue.Queue()
        self._status = OK

    @property
    def num_running(self) -> int:
        return len(self._running)

    def run(self, jobs: Sequence[Job]) -> int:
        """Train; return the exit status of the first one that fails, which ends the others.

        Raises:
            KeyboardInterrupt: somebody asked to end; all of them have saved and ended.
        """
        waiting = deque(jobs)
        try:
            while waiting or self._running:
                while waiting and self.num_running < self._num_lanes and self._status == OK:
                    self._start(waiting.popleft())
                if not self._running:
                    break
                self._hear()
        except BaseException:
            self._end()
            raise
        return self._status

    def _start(self, job: Job) -> None:
        # On a CPU they share the cores; what is set outside holds.
        threads = str(max(1, num_cores() // self._num_lanes))
        process = subprocess.Popen(
            [sys.executable, "-m", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"OMP_NUM_THREADS": threads, **os.environ},
        )
        self._running[process] = job.label
        assert process.stdin is not None
        with process.stdin:
            pickle.dump(job.make_request(), process.stdin)
        threading.Thread(target=self._read, args=(process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        """Pass a process's lines to the main thread; None: there are no more."""
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._lines.put((process, line.decode(errors="replace").rstrip("\r\n")))
        self._lines.put((process, None))

    def _hear(self) -> None:
        """Take one line; of a process that has ended its exit status."""
        process, line = self._lines.get()
        if line is not None:
            self._tell(f"{self._running[process]}: {line}")
            return

        status = process.wait()
        del self._running[process]
        if status and self._status == OK:
            self._status = status if status > 0 else 128 - status
            self._ask_to_end()

    def _ask_to_end(self) -> None:
        for process in self._running:
            process.send_signal(signal.SIGTERM)

    def _end(self) -> None:
        """End what still runs: trainings save, and say how they go on."""
        self._ask_to_end()
        while self._running:
            self._hear()
