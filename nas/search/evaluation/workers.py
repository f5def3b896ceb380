"""Local worker processes: each evaluates one job at a time and says what it is doing."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Literal, Protocol

import torch

from nas.search.evaluation.tasks import Evaluator
from nas.system import file_locks
from nas.system.cores import num_cores
from nas.system.streams import make_printable

MAX_DEATHS = 2  # a job whose process died is run again so often
MakeEvaluator = Callable[[], Evaluator]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A call of an evaluator's method, under a key of the caller's."""

    key: str
    method: Literal["baseline", "ladder_run", "measure", "train", "trial", "advance", "confirm", "read_test"]
    args: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a job: its result, a typed error (`type: message`), or `died` with its process."""

    job: Job
    result: Any = None
    error: str = ""
    died: bool = False


def worker_count(wanted: int | None, device: torch.device) -> int:
    """How many workers are wanted; by default one a CPU core, one on a GPU or where no device can be locked.

    Raises:
        ValueError: fewer than one.
    """
    if wanted is not None and wanted < 1:
        raise ValueError(f"workers must be at least 1, got {wanted}; null takes one a core")
    alone = device.type == "cuda" or not file_locks.are_there()
    return wanted or (1 if alone else num_cores())


class Pool(Protocol):
    """Whoever does jobs: as many at once as are idle at first."""

    @property
    def idle(self) -> int: ...
    @property
    def doing(self) -> dict[str, str]: ...
    def submit(self, job: Job) -> None: ...
    def outcomes(self, timeout: float) -> Iterator[Outcome]: ...


class Deaths:
    """Counts how often a job's process died: it is run again some times, then it has failed."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def may_retry(self, outcome: Outcome) -> bool:
        if not outcome.died:
            return False
        key = outcome.job.key
        self._counts[key] = self._counts.get(key, 0) + 1
        return self._counts[key] <= MAX_DEATHS


def work(pool: Pool, jobs: Iterable[Job], *, tick: Callable[[], None]) -> Iterator[Outcome]:
    """Do jobs, the first ones first, and give what came of each; `tick` is called in between, often."""
    waiting, running, deaths = list(jobs), 0, Deaths()
    while waiting or running:
        while waiting and pool.idle:
            pool.submit(waiting.pop(0))
            running += 1
        for outcome in pool.outcomes(0.2):
            running -= 1
            if deaths.may_retry(outcome):
                waiting.insert(0, outcome.job)
            else:
                yield outcome
        tick()


class Workers:
    """A pool of processes. Use as a context manager; leaving it ends them.

    A worker that dies takes its job with it (`Outcome.died`) and is replaced.
    """

    def __init__(self, make: MakeEvaluator, *, count: int, threads: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._make = make
        self._threads = threads
        self._workers = [self._start() for _ in range(count)]

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()

    @property
    def idle(self) -> int:
        return sum(worker.job is None for worker in self._workers)

    @property
    def doing(self) -> dict[str, str]:
        """Job key -> a few words on what is being done for it."""
        return {worker.job.key: worker.doing for worker in self._workers if worker.job}

    def submit(self, job: Job) -> None:
        worker = next(worker for worker in self._workers if worker.job is None)
        worker.job, worker.doing = job, "starting"
        with contextlib.suppress(OSError):  # it died while idle: `outcomes` finds that out
            worker.pipe.send(job)

    def outcomes(self, timeout: float) -> Iterator[Outcome]:
        """What ended within some seconds."""
        ready = wait([worker.pipe for worker in self._workers], timeout)
        for place, worker in enumerate(self._workers):
            if worker.pipe not in ready:
                continue
            try:
                kind, content = worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.join()
                self._workers[place] = self._start()
                if worker.job:
                    yield Outcome(job=worker.job, died=True, error=_death(worker.process.exitcode))
                continue
            if kind == "doing":
                worker.doing = content
                continue
            job, worker.job = worker.job, None
            assert job is not None
            yield Outcome(job=job, **content)

    def _start(self) -> "_Worker":
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self._make, self._threads), daemon=True)
        with _without_main():
            process.start()
        theirs.close()
        return _Worker(process=process, pipe=ours)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hide the main script from a process that is started: it would run it again, its search too."""
    main: Any = sys.modules["__main__"]
    kept = {name: vars(main)[name] for name in ("__spec__", "__file__") if name in vars(main)}
    vars(main).pop("__file__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(kept)


@dataclass(slots=True, kw_only=True)
class _Worker:
    process: Any
    pipe: Connection
    job: Job | None = None
    doing: str = ""


def _death(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        names = {number.value: number.name for number in signal.Signals}
        return f"worker died: killed by {names.get(-exitcode, f'signal {-exitcode}')}"
    return f"worker died: exit status {exitcode}"


def _serve(pipe: Connection, make: MakeEvaluator, threads: int) -> None:
    """The life of a worker: Ctrl-C is its parent's business, and it does not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    make_printable()
    threading.Thread(target=_watch, daemon=True).start()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    evaluator = make()

    def tell(words: str) -> None:
        pipe.send(("doing", words))

    while True:
        try:
            job: Job = pipe.recv()
        except EOFError:
            return
        try:
            content = {"result": getattr(evaluator, job.method)(*job.args, tell)}
        except Exception as error:  # the trial boundary: whatever went wrong is this trial's result
            if os.environ.get("NAS_TRACEBACK"):
                traceback.print_exc()
            content = {"error": f"{type(error).__name__}: {error}"}
        pipe.send(("ended", content))


def _watch() -> None:
    """End this process when its parent has ended, however that came."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
