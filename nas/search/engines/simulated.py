"""An engine in simulated time: tasks are answered at once, and end when they would have ended."""

import heapq
from collections.abc import Iterator
from typing import Protocol, cast

from nas.search.engines.base import MakeEvaluator, Placement, Result, Task
from nas.search.engines.tasks import run_task
from nas.search.evaluation.requests import Evaluator


class TimedEvaluator(Evaluator, Protocol):
    """An evaluator that knows how many `seconds` its last call would have taken."""

    seconds: float


class SimulatedEngine:
    """Runs tasks in this process; results come back in the order of simulated time.

    Attributes:
        now: seconds of simulated time since the engine was made.

    Example:
        >>> class Timed:  # an evaluator, as far as two tasks need it
        ...     seconds = 0.0
        ...     def measure(self, seconds, say):
        ...         self.seconds = seconds
        >>> engine = SimulatedEngine()
        >>> engine.start(Timed, Placement(num_workers=2, num_per_host=2))
        >>> for seconds in (60.0, 5.0):
        ...     engine.submit(Task(key=f"{seconds} s", method="measure", args=(seconds,)))
        >>> [result.task.key for result in engine.results(0.0)], engine.now
        (['5.0 s'], 5.0)
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._evaluator: TimedEvaluator | None = None
        self._num_workers = 0
        self._num_submitted = 0
        # By the second at which they end, then by the order in which they were sent.
        self._running: list[tuple[float, int, Result]] = []

    def place_workers(self, wanted: int | None, device_type: str) -> Placement:
        """Place as many workers as are wanted, one by default."""
        return Placement(num_workers=wanted or 1, num_per_host=wanted or 1)

    def start(self, make_evaluator: MakeEvaluator, placement: Placement) -> None:
        """Make the evaluator.

        Raises:
            TypeError: it does not say how long its calls would take.
        """
        # One evaluator for all workers: it answers at once, so no two calls overlap.
        evaluator = make_evaluator()
        if not hasattr(evaluator, "seconds"):
            raise TypeError(
                f"{type(evaluator).__name__} has no `seconds`: simulated time needs the seconds "
                "that the last call would take"
            )
        self._evaluator = cast(TimedEvaluator, evaluator)
        self._num_workers = placement.num_workers

    def stop(self) -> None:
        """Drop what runs."""
        self._running.clear()
        self._evaluator, self._num_workers = None, 0

    @property
    def idle(self) -> int:
        """How many more tasks the engine takes now."""
        return self._num_workers - len(self._running)

    @property
    def doing(self) -> dict[str, str]:
        """Give the simulated second at which each running task ends, by the task's key."""
        return {result.task.key: f"until second {end:.0f}" for end, _, result in self._running}

    def submit(self, task: Task) -> None:
        """Answer a task at once; its result comes back when it would have ended."""
        assert self._evaluator is not None, "submit before start"
        # The answer is known now; only its place in time is simulated.
        result = run_task(self._evaluator, task, _say_nothing)
        end = self.now + self._evaluator.seconds
        self._num_submitted += 1
        heapq.heappush(self._running, (end, self._num_submitted, result))

    def results(self, timeout: float) -> Iterator[Result]:
        """Give the task that ends next; the simulated clock goes on to its end."""
        if self._running:
            self.now, _, result = heapq.heappop(self._running)
            yield result


def _say_nothing(words: str) -> None:
    """Nobody watches simulated work."""
