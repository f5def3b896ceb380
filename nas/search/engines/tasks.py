"""What all engines share: to run a task, to send it again after a fault, to work off a list."""

import contextlib
import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from nas.search.engines.base import Engine, MakeEvaluator, Placement, Result, Task
from nas.search.engines.faults import find_fault
from nas.search.evaluation.requests import Evaluator, Say
from nas.system.faults import MachineError
from nas.system.lock_waits import telling

MAX_RETRIES = 2  # a task that the machine took is sent again so often
POLL_SECONDS = 0.2  # for which a list of tasks waits for results before it calls `tick`


@contextlib.contextmanager
def started(
    engine: Engine, make_evaluator: MakeEvaluator, placement: Placement
) -> Iterator[Engine]:
    """Start an engine and stop it at the end of the block, also after an error or Ctrl-C."""
    # Inside the try: a start that is interrupted leaves workers behind.
    try:
        engine.start(_CarefulMaker(make_evaluator), placement)
        yield engine
    finally:
        engine.stop()


@dataclass(frozen=True, slots=True)
class _CarefulMaker:
    """Makes evaluators and never raises, so that no worker ends before its first task.

    Whoever waits for a result would wait for ever.
    """

    make_evaluator: MakeEvaluator

    def __call__(self, **device: str | None) -> Any:
        try:
            return self.make_evaluator(**device)
        except Exception:  # the trial boundary: it is the result of the first task
            return _LateEvaluator(self.make_evaluator, device)


class _LateEvaluator:
    """Stands in for an evaluator that could not be made: each task tries to make it."""

    seconds = 0.0  # for engines in simulated time

    def __init__(self, make_evaluator: MakeEvaluator, device: dict[str, str | None]) -> None:
        self._make_evaluator, self._device = make_evaluator, device
        self._made: Evaluator | None = None

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith("_") or method == "notices":
            raise AttributeError(method)

        def call(*args: Any) -> Any:
            if self._made is None:
                self._made = self._make_evaluator(**self._device)
            return getattr(self._made, method)(*args)

        return call


def run_task(evaluator: Evaluator, task: Task, say: Say) -> Result:
    """Call the method that a task names; an exception becomes the result's error.

    Called by the worker. With NAS_TRACEBACK set in its environment it prints the traceback too.
    """
    try:
        with telling(say):  # a long wait for a device, with who holds it
            value = getattr(evaluator, task.method)(*task.args, say)
    except Exception as error:  # the trial boundary: whatever went wrong is this task's result
        if os.environ.get("NAS_TRACEBACK"):
            traceback.print_exc()
        return Result(task=task, error=f"{type(error).__name__}: {error}", fault=find_fault(error))

    # Evaluators that have something to tell keep it in a list; it is told once.
    notices: list[str] = getattr(evaluator, "notices", [])
    result = Result(task=task, value=value, notices=tuple(notices))
    notices.clear()
    return result


class Retries:
    """Counts how often the machine took a task, and says whether the task is sent once more.

    Example:
        >>> retries, task = Retries(), Task(key="1", method="baseline", args=())
        >>> [retries.may_retry(Result(task=task, died=True)) for _ in range(3)]
        [True, True, False]
        >>> retries.may_retry(Result(task=task, error="ValueError: no", fault="architecture"))
        False
    """

    def __init__(self) -> None:
        self._num_faults: dict[str, int] = {}

    def may_retry(self, result: Result) -> bool:
        """Say whether the result's task is sent again: the machine took it, and not too often."""
        if not result.is_lost:
            return False
        key = result.task.key
        self._num_faults[key] = self._num_faults.get(key, 0) + 1
        return self._num_faults[key] <= MAX_RETRIES

    def is_last(self, task: Task) -> bool:
        """Say whether a task is sent for the last time."""
        return self._num_faults.get(task.key, 0) >= MAX_RETRIES


class Dispatcher:
    """Sends tasks to a started engine, and sends those again that say nothing about a network.

    A task that the machine took goes back before all others; the last time it runs alone, so that
    what the others had begun is finished whatever comes. One that ran out of memory beside others
    is sent again alone.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._retries = Retries()
        self._running: dict[str, Task] = {}
        self._returned: list[Task] = []  # to be sent again
        self._alone: set[str] = set()  # keys of tasks that run beside no other
        self._shared: set[str] = set()  # keys of tasks beside which another one runs or ran

    @property
    def takes_more(self) -> bool:
        """Whether another task may be submitted now."""
        waits = self._returned or self._alone & self._running.keys()
        return not waits and self.engine.idle > 0

    @property
    def is_busy(self) -> bool:
        """Whether a task was submitted that has not come back for good."""
        return bool(self._running or self._returned)

    def submit(self, task: Task, *, alone: bool = False) -> None:
        """Send a task to a worker; called where one is taken, and nothing runs if it is `alone`."""
        if alone:
            self._alone.add(task.key)
        self._send(task)

    def results(self, timeout: float) -> Iterator[Result]:
        """Give what came back for good; waits up to `timeout` seconds for anything."""
        self._send_returned()
        for result in self.engine.results(timeout):
            key = result.task.key
            del self._running[key]
            if self._goes_again(result):
                self._returned.append(result.task)
                continue
            self._alone.discard(key)
            self._shared.discard(key)
            yield result

    def _send(self, task: Task) -> None:
        self._shared.discard(task.key)
        if self._running:
            self._shared |= {task.key, *self._running}
        self._running[task.key] = task
        self.engine.submit(task)

    def _send_returned(self) -> None:
        """Send again what came back, as far as workers are idle."""
        while self._returned and self.engine.idle:
            key = self._returned[0].key
            if self._alone & {key, *self._running} and self._running:
                return
            self._send(self._returned.pop(0))

    def _goes_again(self, result: Result) -> bool:
        """Say whether a task is sent again; notes whether it has to run alone."""
        key = result.task.key
        if result.error and result.fault == "memory" and not result.died:
            # Alone it had all the memory that there is.
            goes_again = key in self._shared
            runs_alone = goes_again
        else:
            goes_again = self._retries.may_retry(result)
            runs_alone = goes_again and self._retries.is_last(result.task)
        if runs_alone:
            self._alone.add(key)
        return goes_again


def run_tasks(engine: Engine, tasks: Iterable[Task]) -> Iterator[Result]:
    """Run tasks on a started engine, in their order, and give each result as it comes."""
    for batch in run_batches(engine, tasks):
        yield from batch


def run_batches(
    engine: Engine, tasks: Iterable[Task], *, tick: Callable[[], None] = lambda: None
) -> Iterator[list[Result]]:
    """Run tasks on a started engine, in their order, and give the results that came together.

    Args:
        tick: called several times a second while tasks run.
    """
    waiting, dispatcher = list(tasks), Dispatcher(engine)
    while waiting or dispatcher.is_busy:
        # Keep every worker busy.
        while waiting and dispatcher.takes_more:
            dispatcher.submit(waiting.pop(0))
        yield list(dispatcher.results(POLL_SECONDS))
        tick()


def keep_each(batch: Iterable[Result], keep: Callable[[Result], None]) -> None:
    """Keep all results that came together, also where one of them ends the work.

    Args:
        keep: raises a ValueError or a MachineError where a result cannot be used.
    Raises:
        ValueError, MachineError: the first that `keep` raised, once it was called with each result.
    """
    refusals: list[ValueError | MachineError] = []
    for result in batch:
        try:
            keep(result)
        except (ValueError, MachineError) as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]
