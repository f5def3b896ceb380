"""What a decision is: a name, its options, and somebody who picks one."""

import random
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from search_spaces.spec import ArchSpec, Scalar

S = TypeVar("S", bound=Scalar)


class Chooser(Protocol):
    """Whoever decides. A name has one list of options for a whole study."""

    def pick(self, name: str, options: Sequence[S]) -> S: ...


class Space(Protocol):
    """A set of architectures: every decision is asked in every sample, in the same order."""

    def sample(self, chooser: Chooser) -> ArchSpec: ...


class RandomChooser:
    """Picks uniformly."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def pick(self, name: str, options: Sequence[S]) -> S:
        return self.rng.choice(options)


class ReplayChooser:
    """Picks what was picked before."""

    def __init__(self, picks: Mapping[str, Scalar]) -> None:
        self.picks = picks

    def pick(self, name: str, options: Sequence[S]) -> S:
        for option in options:
            if option == self.picks[name] and type(option) is type(self.picks[name]):
                return option
        raise ValueError(f"{name}: {self.picks[name]!r} is not among the options {list(options)}")


class RecordingChooser:
    """Takes the first option of each decision and keeps the list of decisions."""

    def __init__(self) -> None:
        self.decisions: dict[str, tuple[Scalar, ...]] = {}

    def pick(self, name: str, options: Sequence[S]) -> S:
        self.decisions[name] = tuple(options)
        return options[0]


def decisions(space: Space) -> dict[str, tuple[Scalar, ...]]:
    """The decisions of a space with their options, in the order in which they are asked."""
    recorder = RecordingChooser()
    space.sample(recorder)
    return recorder.decisions
