"""The engine of one machine: worker processes, each with an evaluator and one thread of PyTorch."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from nas.search.engines.base import MakeEvaluator, Placement, Result, Task
from nas.search.engines.tasks import run_task
from nas.search.evaluation.requests import Evaluator
from nas.system import file_locks
from nas.system.cores import num_cores
from nas.system.streams import make_printable

GRACE_SECONDS = 3.0  # for a worker to end in order: a training ends at its next step
NUM_THREADS = 1  # of PyTorch in a worker: one a core beats several that share a small convolution
END_SECONDS = 10.0  # that a worker which met a fault has to end by itself


@dataclass(slots=True, kw_only=True)
class _Worker:
    """One process, our end of its pipe, and what it does now."""

    process: BaseProcess
    pipe: Connection
    task: Task | None = None
    doing: str = ""


class LocalEngine:
    """Runs tasks in processes of this machine; conf/engine/local.yaml builds it.

    The processes do not outlive the one that started them, however that ends, and leave Ctrl-C to
    it. A worker that dies, or that a fault of the machine has spoilt, is replaced.

    Example:
        >>> LocalEngine().place_workers(3, "cpu").num_workers
        3
    """

    def __init__(self) -> None:
        # Spawned, not forked: a CUDA context or a lock of this process is no use in a worker.
        self._context = multiprocessing.get_context("spawn")
        self._make_evaluator: MakeEvaluator | None = None
        self._workers: list[_Worker] = []

    def place_workers(self, wanted: int | None, device_type: str) -> Placement:
        """Place what is wanted; by default a worker a core, or one where it needs the device alone.

        That is on a GPU, and where no device can be locked: trainings would disturb measurements.

        Raises:
            ValueError: fewer than one is wanted.
        """
        if wanted is not None and wanted < 1:
            raise ValueError(f"workers must be at least 1, got {wanted}; null takes one a core")
        is_alone = device_type == "cuda" or not file_locks.are_there()
        count = wanted or (1 if is_alone else num_cores())
        return Placement(num_workers=count, num_per_host=count)

    def start(self, make_evaluator: MakeEvaluator, placement: Placement) -> None:
        """Start the processes; each makes its evaluator while the first task waits for it."""
        self._make_evaluator = make_evaluator
        for _ in range(placement.num_workers):
            self._workers.append(self._start_worker())

    def stop(self) -> None:
        """End the processes: they are asked to, and killed where they have not done so soon."""
        processes = [worker.process for worker in self._workers]
        self._workers.clear()
        # All are asked before any is waited for, and killed also where Ctrl-C ends the waiting.
        try:
            for process in processes:
                process.terminate()
            deadline = time.monotonic() + GRACE_SECONDS
            for process in processes:
                process.join(max(0.0, deadline - time.monotonic()))
        finally:
            for process in processes:
                process.kill()
            for process in processes:
                process.join()

    @property
    def idle(self) -> int:
        """How many more tasks the engine takes now."""
        return sum(worker.task is None for worker in self._workers)

    @property
    def doing(self) -> dict[str, str]:
        """Give what each worker last said of its task, by the task's key."""
        return {worker.task.key: worker.doing for worker in self._workers if worker.task}

    def submit(self, task: Task) -> None:
        """Send a task to an idle worker."""
        worker = next(worker for worker in self._workers if worker.task is None)
        worker.task, worker.doing = task, "starting"
        with contextlib.suppress(OSError):  # it died while idle: `results` finds that out
            worker.pipe.send(task)

    def results(self, timeout: float) -> Iterator[Result]:
        """Give what came back; waits up to `timeout` seconds for a worker to say anything."""
        ready = wait([worker.pipe for worker in self._workers], timeout)
        for place, worker in enumerate(self._workers):
            if worker.pipe not in ready:
                continue

            # A closed pipe is all that is seen of a worker's death.
            try:
                message: str | Result = worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.join()  # its exit status is there only then
                self._workers[place] = self._start_worker()
                if worker.task:
                    error = _describe_death(worker.process.exitcode)
                    yield Result(task=worker.task, died=True, error=error)
                continue

            # Text says what is done now; a Result ends the task.
            if isinstance(message, str):
                worker.doing = message
                continue
            worker.task = None
            if message.spoils_worker:  # it ends by itself
                worker.process.join(END_SECONDS)
                worker.process.kill()
                worker.pipe.close()
                self._workers[place] = self._start_worker()
            yield message

    def _start_worker(self) -> _Worker:
        """Start one process."""
        ours, theirs = self._context.Pipe()
        # A daemon ends with this process also where nobody calls `stop`.
        process = self._context.Process(
            target=_serve_tasks, args=(theirs, self._make_evaluator), daemon=True
        )
        with _hide_main_script(), _deaf_child():
            process.start()
        theirs.close()  # only the worker holds its end: a death closes the pipe
        return _Worker(process=process, pipe=ours)


@contextlib.contextmanager
def _deaf_child() -> Iterator[None]:
    """Block Ctrl-C and SIGHUP in a process that is started, from its first moment.

    They reach the whole process group, and a worker that is still loading would answer with a
    traceback. Signals that come to this process meanwhile arrive at the end of the block.
    """
    blocked = {number for name in ("SIGINT", "SIGHUP") if (number := getattr(signal, name, None))}
    if not hasattr(signal, "pthread_sigmask"):  # Windows has none
        yield
        return
    # Python's own tracker of shared memory would be started on the way, and unblock them again.
    resource_tracker.ensure_running()
    former = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


@contextlib.contextmanager
def _hide_main_script() -> Iterator[None]:
    """Hide the main script from a process that is started.

    A spawned process runs the main script again, and with it a user's search.
    """
    # `spawn` finds the script by these two names, and runs it where it finds any.
    main: Any = sys.modules["__main__"]
    kept = {name: vars(main)[name] for name in ("__spec__", "__file__") if name in vars(main)}
    vars(main).pop("__file__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(kept)


def _describe_death(exitcode: int | None) -> str:
    """Say how a process ended: by which signal, or with which exit status."""
    if exitcode is not None and exitcode < 0:
        names = {number.value: number.name for number in signal.Signals}
        return f"worker died: killed by {names.get(-exitcode, f'signal {-exitcode}')}"
    return f"worker died: exit status {exitcode}"


def _serve_tasks(pipe: Connection, make_evaluator: MakeEvaluator) -> None:
    """Run tasks from a pipe until it closes: the life of a worker process.

    Text that goes back through the pipe says what is done; a Result ends a task.
    """
    # Ctrl-C reaches the whole process group: the parent alone decides what it ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_in_order)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    make_printable()  # what a library prints may not fit the terminal's encoding

    # Denormals of a training that fades out would slow it down many times.
    torch.set_num_threads(NUM_THREADS)
    torch.set_flush_denormal(True)
    evaluator = make_evaluator()  # once: it keeps images and meters from task to task

    try:
        _answer_tasks(pipe, evaluator)
    finally:
        # Python's own end, which comes next, is the end that the parent asks for.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _answer_tasks(pipe: Connection, evaluator: Evaluator) -> None:
    """Run tasks until the pipe closes, or one has spoiled the process."""
    while True:
        try:
            task: Task = pipe.recv()
        except EOFError:
            return
        result = run_task(evaluator, task, pipe.send)
        _release_memory()
        pipe.send(result)
        if result.spoils_worker:  # such as a CUDA context that answers nothing any more
            return


def _release_memory() -> None:
    """Give memory of the GPU back that this process holds for its next task."""
    # Another worker may need it, and one that runs alone is to have all there is.
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        with contextlib.suppress(RuntimeError):  # a broken context
            torch.cuda.empty_cache()


def _end_in_order(number: int, frame: object) -> None:
    """End this process as its parent asks: temporary files, locks and lists of users go."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # asked twice, it would end in the middle of that
    raise SystemExit(128 + number)


def _exit_with_parent() -> None:
    """End this process when its parent has ended, however that came."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # at once: an orderly exit would wait for the training
