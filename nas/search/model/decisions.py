"""A space's decisions as numbers: each architecture is a tuple of indices into the options."""

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from search_spaces.chooser import S, Space
from search_spaces.chooser import decisions as list_decisions
from search_spaces.spec import Scalar

MAX_DRAWS = 1000
MAX_LISTED = 100_000  # points of a small space: all of them are enumerated


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision of a space.

    Attributes:
        is_ordered: the options are rising numbers, whose order models use.
    """

    name: str
    num_options: int
    is_ordered: bool


class IndexChooser:
    """Picks by index.

    Args:
        params: decision -> index into its options.
    """

    def __init__(self, params: Mapping[str, int]) -> None:
        self.params = params

    def pick(self, name: str, options: Sequence[S]) -> S:
        return options[self.params[name]]


def read_decisions(space: Space) -> tuple[Decision, ...]:
    """Return the decisions of a space in the order in which it asks them."""
    return tuple(
        Decision(name=name, num_options=len(options), is_ordered=_are_ordered(options))
        for name, options in list_decisions(space).items()
    )


def draw_params(decisions: Sequence[Decision], rng: random.Random) -> Iterator[dict[str, int]]:
    """Yield random parameters: every point of a small space once, or a thousand of a large one."""
    names = [decision.name for decision in decisions]
    sizes = [decision.num_options for decision in decisions]

    if math.prod(sizes) <= MAX_LISTED:
        points = list(itertools.product(*map(range, sizes)))
        rng.shuffle(points)
        yield from (dict(zip(names, point, strict=True)) for point in points)
        return

    for _ in range(MAX_DRAWS):
        yield {name: rng.randrange(size) for name, size in zip(names, sizes, strict=True)}


def _are_ordered(options: Sequence[Scalar]) -> bool:
    """Whether all options are numbers, and rise."""
    numbers = [
        option
        for option in options
        if isinstance(option, int | float) and not isinstance(option, bool)
    ]
    return len(numbers) == len(options) and numbers == sorted(numbers)
