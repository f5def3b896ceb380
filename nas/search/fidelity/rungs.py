"""Where trainings pause, and which of them go on whatever they promise."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from nas.analysis.results import RunState

PROBE_SHARE = (
    0.05  # of all steps of a search's trials: as many may go to probes while new ones are wanted
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rungs:
    """The rungs of a search.

    Attributes:
        fidelities: steps at which a training is read, its end the last.
        probes: numbers of trials that are all trained to the end before the search ends: by them and the
            ladder it is judged how far a rung ranks as the end does.
        least_tau: Kendall's tau between a rung and the end below which trainings do not pause there.
    """

    fidelities: tuple[int, ...]
    probes: tuple[int, ...]
    least_tau: float

    def next_stop(self, reached: int, state: RunState) -> int:
        """The step up to which a training goes on: the next rung that ranks as the end does, or the end."""
        if len(self.fidelities) == 1:
            return self.fidelities[0]
        judged = state.trust.to_top
        poor = {one.lower for one in judged if one.tau is not None and one.tau < self.least_tau}
        return next(steps for steps in self.fidelities if steps > reached and steps not in poor)

    def due_probe(
        self, reached: Mapping[int, int], paused: Collection[int], *, is_last: bool = False
    ) -> int | None:
        """The probe that goes on now, the one that is furthest; None: it is no probe's turn.

        Args:
            reached: steps of every trial, by its number.
            paused: numbers of the trials that wait.
            is_last: nothing else is left to do.
        """
        waiting = [number for number in self.probes if number in paused]
        if not waiting:
            return None
        chosen = max(waiting, key=lambda number: (reached[number], -number))
        first = self.fidelities[0]
        spent = sum(max(0, reached[number] - first) for number in self.probes if number in reached)
        cost = self.fidelities[-1] - reached[chosen]
        return chosen if is_last or spent + cost <= PROBE_SHARE * sum(reached.values()) else None
