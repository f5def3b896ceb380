"""Decisions: a name and its options, and whoever picks one of them."""

import random
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from search_spaces.spec import ArchSpec, Scalar

S = TypeVar("S", bound=Scalar)


class Chooser(Protocol):
    """Takes decisions: a sampler, a random draw, a replay.

    A name has one option list in a whole study.
    """

    def pick(self, name: str, options: Sequence[S]) -> S: ...


class Space(Protocol):
    """A set of architectures that can be sampled.

    Every sample asks every decision, in the same order, also those without effect on its member.

    Example:
        >>> import random
        >>> from search_spaces import published
        >>> from search_spaces.chooser import RandomChooser, decisions
        >>> class ThreeNetworks:
        ...     def sample(self, chooser):
        ...         return published(chooser.pick("network", ["span", "spanf", "spanv2"]))
        >>> decisions(ThreeNetworks())
        {'network': ('span', 'spanf', 'spanv2')}
        >>> ThreeNetworks().sample(RandomChooser(random.Random(0))).scale
        4
    """

    def sample(self, chooser: Chooser) -> ArchSpec: ...


class RandomChooser:
    """Draws options uniformly."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def pick(self, name: str, options: Sequence[S]) -> S:
        # The generator is passed in: a seed repeats the sample.
        return self.rng.choice(options)


class ReplayChooser:
    """Repeats the picks of an earlier sample."""

    def __init__(self, picks: Mapping[str, Scalar]) -> None:
        self.picks = picks

    def pick(self, name: str, options: Sequence[S]) -> S:
        # Types are compared too: 1 and true are equal in Python, but two options here.
        for option in options:
            if option == self.picks[name] and type(option) is type(self.picks[name]):
                return option
        raise ValueError(f"{name}: {self.picks[name]!r} is not among the options {list(options)}")


class RecordingChooser:
    """Takes the first option of each decision and records all options."""

    def __init__(self) -> None:
        self.decisions: dict[str, tuple[Scalar, ...]] = {}

    def pick(self, name: str, options: Sequence[S]) -> S:
        # Any member will do: a space asks the same decisions in all of them.
        self.decisions[name] = tuple(options)
        return options[0]


def decisions(space: Space) -> dict[str, tuple[Scalar, ...]]:
    """Return the decisions of a space with their options, in the order in which they are asked."""
    recorder = RecordingChooser()
    space.sample(recorder)
    return recorder.decisions
