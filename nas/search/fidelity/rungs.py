"""Where trainings pause, and which of them go on whatever they promise."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from nas.analysis.run_state import RunState

# Of all steps of a search's trials: as many may go to probes while new trials are wanted.
PROBE_SHARE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Rungs:
    """The rungs of a search.

    Attributes:
        fidelities: steps at which a training is read, its end the last.
        probes: numbers of trials that are all trained to the end before the search ends: by them
            and the ladder it is judged how far a rung ranks as the end does.
        least_tau: Kendall's tau between a rung and the end below which trainings do not pause
            there.
    """

    fidelities: tuple[int, ...]
    probes: tuple[int, ...]
    least_tau: float

    def next_stop(self, reached: int, state: RunState) -> int:
        """Return the step up to which a training goes on: the next rung that may be trusted.

        A rung where tau fell below `least_tau` is skipped; the end never is.

        Args:
            reached: steps that the training has done.
        """
        if len(self.fidelities) == 1:
            return self.fidelities[0]

        # A rung of which nothing is known yet (tau None) is trusted.
        distrusted = {
            agreement.lower
            for agreement in state.trust.to_top
            if agreement.tau is not None and agreement.tau < self.least_tau
        }
        ahead = [steps for steps in self.fidelities if steps > reached]
        return next(steps for steps in ahead if steps not in distrusted)

    def due_probe(
        self, reached: Mapping[int, int], paused: Collection[int], *, is_last: bool = False
    ) -> int | None:
        """Return the probe that goes on now, the furthest one; None: it is no probe's turn.

        Args:
            reached: steps of every trial, by its number.
            paused: numbers of the trials that wait.
            is_last: whether nothing else is left to do.
        """
        # The furthest one first: a probe teaches only once it has reached the end.
        waiting = [number for number in self.probes if number in paused]
        if not waiting:
            return None
        furthest = max(waiting, key=lambda number: (reached[number], -number))
        if is_last:  # what a probe was begun for is not lost at the end
            return furthest

        # Probes are paid from a share of all steps, beyond the first rung that every trial gets.
        first = self.fidelities[0]
        started = [number for number in self.probes if number in reached]
        spent = sum(max(0, reached[number] - first) for number in started)
        cost = self.fidelities[-1] - reached[furthest]
        return furthest if spent + cost <= PROBE_SHARE * sum(reached.values()) else None
