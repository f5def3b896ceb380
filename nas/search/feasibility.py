"""Whether a space can be searched as asked for: its members can be built, and some meet the limits."""

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence

import torch

from nas.analysis.results import table
from nas.analysis.run_state import RunState
from nas.measure.cost import SUMMED, summed_cost
from nas.train.inherit.teacher import check_family
from search_spaces import build
from search_spaces.chooser import RandomChooser, Space
from search_spaces.published import names as published_names
from search_spaces.spaces.members import least, members, num_points
from search_spaces.spec import ArchSpec

NUM_BUILT = 16  # members of a space that are built to see that they can be
NUM_FAMILY = 50  # members that inherit=true looks at
NUM_DRAWN = 100  # members that are held to the limits before the others are
MAX_LISTED = 60_000  # points of a space of which every member is looked at
WORDS = {"params": "parameters", "flops": "FLOPs", "num_conv": "convolutions"}


def check_buildable(spec: ArchSpec) -> None:
    """Refuse what cannot be built, or is too large to be; nothing of its size is made.

    Raises:
        ValueError: the message names the part and what is wrong there.
    """
    try:
        with torch.device("meta"):
            build(spec)
    except (TypeError, RuntimeError, ArithmeticError) as error:  # arguments that do not fit
        raise ValueError(f"it cannot be built: {' '.join(str(error).split())}") from None


def check_members(space: Space) -> None:
    """Refuse a space of which a random member cannot be built, before anything is started.

    Raises:
        ValueError: one cannot; the message names the part and what is wrong there. Or the space
            claims to contain a network that is not published.
    """
    known = published_names()
    if unknown := sorted(set(getattr(space, "contains", ())) - set(known)):
        raise ValueError(
            f"space.contains: {', '.join(unknown)} is no published network; "
            f"known: {', '.join(known)}"
        )

    for spec in itertools.islice(_draws(space, seed=0), NUM_BUILT):
        try:
            check_buildable(spec)
        except ValueError as error:
            raise ValueError(f"space: it holds networks that cannot be built: {error}") from None


def check_inheritance(space: Space, *, seed: int) -> None:
    """Refuse a space whose members cannot start from each other's weights, as some draws show.

    Raises:
        ValueError: a member has parts that no weights are inherited over.
    """
    for spec in itertools.islice(_draws(space, seed), NUM_FAMILY):
        try:
            check_family(spec)
        except ValueError as error:
            raise ValueError(
                f"inherit=true does not know every network of this space: {error}"
            ) from None


def check_limits(
    space: Space, limits: Mapping[str, float], *, seed: int, also: Sequence[ArchSpec] = ()
) -> str:
    """Find a member that meets the limits; return an empty text, or a notice where none was found.

    Draws come first, then a walk to the nearest member, then every member of a space that is not too large.

    Args:
        limits: by column; those that need a measurement are left out here.
        also: architectures that are tried beside the space's members.
    Raises:
        ValueError: no member meets them; it names the smallest one's value.
    """
    exact = {name: limits[name] for name in SUMMED if name in limits}
    if not exact:
        return ""
    if any(_Tried(exact).excess(spec) == 0 for spec in also):
        return ""
    tried = _Tried(exact)
    if any(tried.excess(spec) == 0 for spec in itertools.islice(_draws(space, seed), NUM_DRAWN)):
        return ""
    if least(space, tried.excess, seed=seed, enough=0.0)[0] == 0:
        return ""
    if num_points(space) > MAX_LISTED:
        return (
            f"{tried.missed()}: none of {len(tried.seen):,} members of the space that were tried meets this; "
            f"{tried.nearest()}. The search goes on, and may reject everything"
        )
    if any(tried.excess(spec) == 0 for spec in members(space)):
        return ""
    raise ValueError(
        f"{tried.missed()}: none of the space's {len(tried.seen):,} members meets this; {tried.nearest()}; "
        "raise the limit, or widen the space"
    )


class _Tried:
    """The members that were looked at: how far each is over the limits, and the least of each cost."""

    def __init__(self, limits: Mapping[str, float]) -> None:
        self.limits = limits
        self.seen: dict[str, float] = {}  # by arch_id: how far over
        self.smallest = dict.fromkeys(limits, math.inf)
        self.closest: dict[str, int] = {}  # costs of the member that is least over

    def excess(self, spec: ArchSpec) -> float:
        """By what share a member is over the limits, summed; 0 where it meets them all."""
        if spec.arch_id in self.seen:
            return self.seen[spec.arch_id]
        costs = summed_cost(spec)
        over = sum(max(0.0, costs[name] / limit - 1) for name, limit in self.limits.items())
        if over < min(self.seen.values(), default=math.inf):
            self.closest = costs
        self.seen[spec.arch_id] = over
        self.smallest = {name: min(value, costs[name]) for name, value in self.smallest.items()}
        return over

    def missed(self) -> str:
        """The limits as they are typed: those that no member meets alone, else all."""
        alone = self._alone()
        return ", ".join(f"limits.{name}={self.limits[name]:.10g}" for name in alone or self.limits)

    def nearest(self) -> str:
        """What the smallest member has, or the nearest one where each limit can be met alone."""
        if alone := self._alone():
            return f"the smallest has {_listed(alone, self.smallest)}"
        return (
            f"each can be met alone, and the nearest has {_listed(list(self.limits), self.closest)}"
        )

    def _alone(self) -> list[str]:
        return [name for name, value in self.smallest.items() if value > self.limits[name]]


def why_empty(state: RunState) -> str:
    """Say which limit has rejected most where no trial was trained; empty where one was, or none rejected."""
    rows = table(state)
    rows = rows[rows["number"] != 0]
    if rows.empty or (rows["state"] != "rejected").any():
        return ""
    counts = {name: int((rows[name] > limit).sum()) for name, limit in state.limits.items()}
    name = max(counts, key=lambda one: counts[one], default="")
    said = f"no trial was trained: all {len(rows):,} architectures that were proposed were rejected"
    if not counts.get(name):
        return f"{said}, the last one by {rows['error'].iloc[-1]}"
    values = rows[name][rows[name] > state.limits[name]]
    return (
        f"{said}, {counts[name]:,} of them by limits.{name}={state.limits[name]:.10g} "
        f"(the closest has {_number(float(values.min()))}); raise it, or widen the space, and start again"
    )


def _number(value: float) -> str:
    """A count in full, a measured value to six digits."""
    return f"{value:,.0f}" if value.is_integer() else f"{value:.6g}"


def _draws(space: Space, seed: int) -> Iterator[ArchSpec]:
    chooser = RandomChooser(random.Random(seed))
    while True:
        yield space.sample(chooser)


def _listed(names: Sequence[str], costs: Mapping[str, float]) -> str:
    return " and ".join(f"{costs[name]:,.0f} {WORDS.get(name, name)}" for name in names)
