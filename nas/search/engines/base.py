"""Where evaluations run: what an engine is sent, what comes back, what every engine can do."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from nas.search.evaluation.requests import Evaluator

# The methods of `Evaluator`, as a literal: a typo is found before a task is sent.
EvaluatorMethod = Literal[
    "baseline",
    "ladder_run",
    "longer_run",
    "measure",
    "train",
    "trial",
    "advance",
    "confirm",
    "read_test",
]

# Whose fault an error is. Memory: the network's where it ran alone, else it is tried again alone.
Fault = Literal["architecture", "memory", "machine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A call of one method of an evaluator, as it is sent to an engine.

    Attributes:
        key: names the task for its sender; no two tasks that run at once share one.
        args: what the method is called with, picklable: the worker may live on another host.
    """

    key: str
    method: EvaluatorMethod
    args: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came back for a task: the value that its method returned, or an error.

    Attributes:
        value: None where the task failed.
        error: an exception as `type: message`, or why the worker died; empty: the task succeeded.
        died: whether the worker died and took the task with it.
        fault: whose an error is; that of a death, and what nobody foresaw, is the machine's.
        notices: what the user is to be told although the task succeeded, a sentence each.
    """

    task: Task
    value: Any = None
    error: str = ""
    died: bool = False
    fault: Fault = "machine"
    notices: tuple[str, ...] = ()

    @property
    def is_lost(self) -> bool:
        """Whether the machine took the task: it says nothing about the network."""
        return self.died or (bool(self.error) and self.fault == "machine")

    @property
    def spoils_worker(self) -> bool:
        """Whether an engine replaces the worker: what it holds may be broken."""
        return self.died or (bool(self.error) and self.fault != "architecture")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """How many workers an engine starts, and how many of them share the memory of one host."""

    num_workers: int
    num_per_host: int


class MakeEvaluator(Protocol):
    """Makes the evaluator of one worker, in the worker; a picklable function or partial.

    `device` is the worker's own device such as "cuda:1"; None: the one that the search was given.
    """

    def __call__(self, *, device: str | None = None) -> Evaluator: ...


class Engine(Protocol):
    """Runs tasks on workers, wherever these are; each worker evaluates one task at a time.

    Whoever uses an engine assumes that workers read and write the run directory, and nothing
    else: not that they are processes, that they live on this host or that they share a device.
    `LocalEngine` is the one that ships; `nas.search.engines.tasks` holds what all engines share.

    Example: an engine whose one worker is this process.
        >>> from nas.search.engines.tasks import run_task, run_tasks, started
        >>> class SameProcess:
        ...     def place_workers(self, wanted, device_type):
        ...         return Placement(num_workers=1, num_per_host=1)
        ...     def start(self, make_evaluator, placement):
        ...         self.evaluator, self.tasks = make_evaluator(), []
        ...     def stop(self):
        ...         self.tasks = []
        ...     @property
        ...     def idle(self):
        ...         return 1 - len(self.tasks)
        ...     @property
        ...     def doing(self):
        ...         return {task.key: "waiting" for task in self.tasks}
        ...     def submit(self, task):
        ...         self.tasks.append(task)
        ...     def results(self, timeout):
        ...         while self.tasks:
        ...             yield run_task(self.evaluator, self.tasks.pop(0), print)

        >>> class Reader:  # an evaluator, as far as one task needs it
        ...     def read_test(self, spec, say):
        ...         say(f"reading {spec}")
        ...         return 26.9
        >>> engine = SameProcess()
        >>> with started(engine, Reader, engine.place_workers(None, "cpu")):
        ...     for result in run_tasks(engine, [Task(key="1", method="read_test", args=("x",))]):
        ...         print(result.task.key, result.value)
        reading x
        1 26.9
    """

    def place_workers(self, wanted: int | None, device_type: str) -> Placement:
        """Say how many workers `start` would start, without starting any.

        Args:
            wanted: how many the user asks for; None: as many as suit the engine.
            device_type: "cpu" or "cuda", on which they evaluate.
        Raises:
            ValueError: so many cannot be had.
        """
        ...

    def start(self, make_evaluator: MakeEvaluator, placement: Placement) -> None:
        """Start the workers, each with an evaluator of its own; not called again before `stop`.

        Args:
            make_evaluator: does not raise where `started` calls this: an evaluator that cannot be
                made answers its tasks with the error.
        """
        ...

    def stop(self) -> None:
        """End the workers and drop what they do; called after a `start` that failed, too."""
        ...

    @property
    def idle(self) -> int:
        """How many more tasks the engine takes now."""
        ...

    @property
    def doing(self) -> dict[str, str]:
        """Give a few words on what is done for each running task, by the task's key."""
        ...

    def submit(self, task: Task) -> None:
        """Send a task to a worker; called where one is idle."""
        ...

    def results(self, timeout: float) -> Iterator[Result]:
        """Give what came back, each result once; waits up to `timeout` seconds for the first.

        A worker that dies gives a result with `died`. The engine replaces it, and one whose result
        `spoils_worker`; who sent the task sends it again.
        """
        ...
