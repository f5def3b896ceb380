"""What a backend offers beside its trainings: the ladder's sizes, trained longer."""

from dataclasses import dataclass
from typing import Protocol

from nas.analysis.ladder import LadderRun


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRun:
    """A longer training that was made before, and where it is from, in a few words."""

    run: LadderRun
    origin: str


class LongerLadder(Protocol):
    """Says how long the ladder's sizes are trained a second time, and which results are known.

    What is not known is asked of an evaluator: its `longer_run`.
    """

    @property
    def steps(self) -> int:
        """Return the steps of these trainings, more than the proxy's."""
        ...

    def find(self, size: str) -> KnownRun | None:
        """Return a training of a size that was made before; None: there is none."""
        ...

    def keep(self, run: LadderRun) -> str:
        """Keep a training for later searches; return why it cannot be kept, empty: it is."""
        ...
