"""What all engines share: to run a task, to send it again after a death, to work off a list."""

import contextlib
import os
import traceback
from collections.abc import Callable, Iterable, Iterator

from nas.search.engines.base import Engine, MakeEvaluator, Placement, Result, Task
from nas.search.evaluation.requests import Evaluator, Say
from nas.system.lock_waits import telling

MAX_DEATHS = 2  # a task whose worker died is sent again so often
POLL_SECONDS = 0.2  # for which a list of tasks waits for results before it calls `tick`


@contextlib.contextmanager
def started(
    engine: Engine, make_evaluator: MakeEvaluator, placement: Placement
) -> Iterator[Engine]:
    """Start an engine and stop it at the end of the block, also after an error or Ctrl-C."""
    # Inside the try: a start that is interrupted leaves workers behind.
    try:
        engine.start(make_evaluator, placement)
        yield engine
    finally:
        engine.stop()


def run_task(evaluator: Evaluator, task: Task, say: Say) -> Result:
    """Call the method that a task names; an exception becomes the result's error.

    Called by the worker. With NAS_TRACEBACK set in its environment it prints the traceback too.
    """
    try:
        with telling(say):  # a long wait for a device, with who holds it
            value = getattr(evaluator, task.method)(*task.args, say)
    except Exception as error:  # the trial boundary: whatever went wrong is this trial's result
        if os.environ.get("NAS_TRACEBACK"):
            traceback.print_exc()
        return Result(task=task, error=f"{type(error).__name__}: {error}")

    return Result(task=task, value=value)


class Retries:
    """Counts how often a task's worker died, and says whether the task is sent once more.

    Example:
        >>> retries, task = Retries(), Task(key="1", method="baseline", args=())
        >>> [retries.may_retry(Result(task=task, died=True)) for _ in range(3)]
        [True, True, False]
        >>> retries.may_retry(Result(task=task, error="ValueError: no"))
        False
    """

    def __init__(self) -> None:
        self._num_deaths: dict[str, int] = {}

    def may_retry(self, result: Result) -> bool:
        """Say whether the result's task is to be sent again: its worker died, and not too often."""
        if not result.died:
            return False
        key = result.task.key
        self._num_deaths[key] = self._num_deaths.get(key, 0) + 1
        return self._num_deaths[key] <= MAX_DEATHS


def run_tasks(
    engine: Engine, tasks: Iterable[Task], *, tick: Callable[[], None] = lambda: None
) -> Iterator[Result]:
    """Run tasks on a started engine, in their order, and give each result as it comes.

    Args:
        tick: called several times a second while tasks run.
    """
    waiting, num_running, retries = list(tasks), 0, Retries()
    while waiting or num_running:
        # Keep every worker busy.
        while waiting and engine.idle:
            engine.submit(waiting.pop(0))
            num_running += 1

        # A task whose worker died goes before the others: they may wait for what it gives.
        for result in engine.results(POLL_SECONDS):
            num_running -= 1
            if retries.may_retry(result):
                waiting.insert(0, result.task)
            else:
                yield result
        tick()
