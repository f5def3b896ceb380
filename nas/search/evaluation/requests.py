"""What a search asks of an evaluator, whoever evaluates."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from nas.analysis.ladder import LadderRun
from nas.record import Cost, Latency, Quality, TrialRecord
from nas.search.screening import Screen
from search_spaces.spec import ArchSpec

Say = Callable[[str], None]  # takes a few words on what is being done now


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRequest:
    """A trial, and how far it is to be trained.

    Attributes:
        until: training steps, counted from the start of its training.
        inherits: number of the row whose weights it starts from; None: it starts from fresh ones.
        parent: architecture of that row.
        reference_db: PSNR of the baseline after a whole training. A whole training is stuck where
            it learned no more than a linear filter and the baseline learned more. None: no
            training is called stuck.
    """

    number: int
    spec: ArchSpec
    until: int
    reference_db: float | None
    inherits: int | None = None
    parent: ArchSpec | None = None


class Evaluator(Protocol):
    """Measures and trains architectures; made in a worker, where every call may take minutes.

    Each method takes `say` last and calls it with a few words when it begins something.

    What it raises says whose fault it is. `nas.system.faults.ArchitectureError`: the network's,
    which becomes a failed row. Out of memory: it is tried again alone, and is the network's then.
    Whatever else: the machine's; the task is sent again, and ends the search the third time.

    What the user is to be told of a task that succeeded, such as weights that could not be kept,
    goes into a list `notices`, where the evaluator has one.

    Example: an evaluator by a formula, in tests/nas/search/engines/formula.py.
    """

    def baseline(self, say: Say) -> tuple[Cost, Latency]:
        """Measure the baseline."""
        ...

    def measure(self, spec: ArchSpec, say: Say) -> tuple[Cost, Latency, float]:
        """Measure a network outside a search; the last value is the seconds that took."""
        ...

    def ladder_run(self, rung: str, seed: int, say: Say) -> LadderRun:
        """Train one size of the ladder, such as "16x3", with one seed."""
        ...

    def longer_run(self, rung: str, say: Say) -> LadderRun:
        """Train one size of the ladder longer, to the steps of `OpenedBackend.longer`.

        It is asked for only where the backend offers that; its curve holds readings on the way.
        """
        ...

    def train(self, spec: ArchSpec, seed: int, reference_db: float | None, say: Say) -> Quality:
        """Train and validate a network outside a search; `reference_db` as in `TrialRequest`."""
        ...

    def trial(self, request: TrialRequest, screen: Screen | None, say: Say) -> TrialRecord:
        """Measure and train a candidate; it is rejected where a limit or the screen fails."""
        ...

    def advance(self, request: TrialRequest, record: TrialRecord, say: Say) -> TrialRecord:
        """Train a candidate on from where it paused; `record` holds what it reached."""
        ...

    def confirm(self, request: TrialRequest, record: TrialRecord, say: Say) -> TrialRecord:
        """Measure and train a complete candidate again, with another seed."""
        ...

    def read_test(self, spec: ArchSpec, say: Say) -> float | None:
        """Return the PSNR of a front member on the test images, in dB.

        None: its weights are lost.
        """
        ...
