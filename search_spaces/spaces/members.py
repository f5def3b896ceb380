"""Members of a space: how many there are, the cheapest, and the decisions that make a given one."""

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from search_spaces.chooser import ReplayChooser, Space, decisions
from search_spaces.spec import ArchSpec, Scalar

Picks = dict[str, Scalar]
MAX_COUNTED = 10_000  # points of a space whose members are counted one by one
NUM_DRAWN = 80  # points that stand for the others in a larger one
NUM_STARTS = 4


def num_points(space: Space) -> int:
    """Return the number of ways to take every decision."""
    return math.prod(len(options) for options in decisions(space).values())


def num_members(space: Space, *, seed: int = 0) -> float:
    """Return the number of different architectures; in a large space an estimate from draws.

    Many points may be one architecture, since decisions without effect are dropped. A drawn point
    stands for as many as the options of those of its decisions that change nothing, taken one at a
    time.
    """
    names = decisions(space)
    if num_points(space) <= MAX_COUNTED:
        points = itertools.product(*names.values())
        return len(
            {_make_member(space, dict(zip(names, point, strict=True))).arch_id for point in points}
        )

    # Too many to count: the mean share of a point in its architecture, over some drawn points.
    rng = random.Random(seed)
    shares = []
    for _ in range(NUM_DRAWN):
        picks = {name: rng.choice(options) for name, options in names.items()}
        own = _make_member(space, picks).arch_id

        # Decisions that change nothing here, whatever is picked.
        idle = [
            len(options)
            for name, options in names.items()
            if all(_make_member(space, picks | {name: other}).arch_id == own for other in options)
        ]
        shares.append(1 / math.prod(idle))

    return num_points(space) * sum(shares) / len(shares)


def members(space: Space) -> Iterator[ArchSpec]:
    """Yield every architecture of a space once; of a large space as long as the caller asks."""
    names, seen = decisions(space), set[str]()
    for point in itertools.product(*names.values()):
        spec = _make_member(space, dict(zip(names, point, strict=True)))
        if spec.arch_id not in seen:
            seen.add(spec.arch_id)
            yield spec


def least(
    space: Space, cost: Callable[[ArchSpec], float], *, seed: int = 0, enough: float = -math.inf
) -> tuple[float, ArchSpec]:
    """Return the least cost and its member, by changing one decision at a time.

    The walk begins at several starts. Then each option of each decision is held in turn, since what
    stands around the blocks has choices of its own, which show their worth only there.

    Args:
        cost: of a member; called once an architecture.
        enough: a cost that ends the walk.
    """
    costs: dict[str, float] = {}
    ids: dict[tuple[Scalar, ...], str] = {}  # walks meet again and again

    def value(picks: Picks) -> float:
        point = tuple(picks.values())
        if point not in ids:
            spec = _make_member(space, picks)
            ids[point] = spec.arch_id
            if ids[point] not in costs:
                costs[ids[point]] = cost(spec)
        return costs[ids[point]]

    # First from several starts.
    best, picks = math.inf, Picks()
    for start in itertools.islice(_list_starts(space, seed), NUM_STARTS):
        walked, other = _walk_downhill(space, value, start, enough=enough)
        if walked < best:
            best, picks = walked, other
        if best <= enough:
            return best, _make_member(space, picks)

    # Then with each option held: the walk may pass a worse member on its way to a better one.
    for name, options in decisions(space).items():
        for option in options:
            kicked = picks | {name: option}
            value(kicked)
            if ids[tuple(kicked.values())] == ids[tuple(picks.values())]:
                continue  # without effect here
            walked, other = _walk_downhill(space, value, kicked, held=name, enough=enough)
            if walked < best:
                best, picks = walked, other
            if best <= enough:
                return best, _make_member(space, picks)

    return best, _make_member(space, picks)


def find(space: Space, spec: ArchSpec, *, seed: int = 0) -> Picks | None:
    """Return the decisions that make an architecture; None where no walk finds them."""
    arch_id = spec.arch_id
    leaves = dict(_list_leaves(spec.to_dict()))
    for start in _list_starts(space, seed):
        _, picks = _walk_downhill(
            space, lambda picks: _count_differences(leaves, _make_member(space, picks)), start
        )
        if _make_member(space, picks).arch_id == arch_id:
            return picks
    return None


def _make_member(space: Space, picks: Mapping[str, Scalar]) -> ArchSpec:
    return space.sample(ReplayChooser(picks))


def _walk_downhill(
    space: Space,
    cost: Callable[[Picks], float],
    picks: Picks,
    held: str = "",
    enough: float = -math.inf,
) -> tuple[float, Picks]:
    """Change one decision at a time for the better until none helps; `held` is left as it is.

    Returns:
        the least cost and the picks that have it.
    """
    best = cost(picks)
    names = {name: options for name, options in decisions(space).items() if name != held}

    # A better option is kept at once: no step costs more than one member.
    better = True
    while better:
        better = False
        for name, options in names.items():
            for option in options:
                value = cost(picks | {name: option})
                if value < best:
                    best, picks, better = value, picks | {name: option}, True
                if best <= enough:
                    return best, picks

    return best, picks


def _list_starts(space: Space, seed: int) -> Iterator[Picks]:
    """Yield the options of each decision in turn, all first ones, all second ones, ....

    Then draws.
    """
    names = decisions(space)
    for i in range(max(map(len, names.values()))):
        # Few starts that together hold every option once.
        yield {name: options[i % len(options)] for name, options in names.items()}
    rng = random.Random(seed)
    for _ in range(NUM_STARTS):
        yield {name: rng.choice(options) for name, options in names.items()}


def _count_differences(leaves: Mapping[str, Any], member: ArchSpec) -> float:
    """Return the number of values that differ; those that only one of both has count too."""
    given = dict(_list_leaves(member.to_dict()))
    return float(sum(leaves.get(path) != given.get(path) for path in leaves.keys() | given.keys()))


def _list_leaves(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield paths and values of plain data, without training forms: spaces do not decide them."""
    items: Sequence[tuple[Any, Any]]
    if isinstance(data, dict):
        items = [(key, value) for key, value in data.items() if key != "train_form"]
    elif isinstance(data, list):
        items = list(enumerate(data))
    else:
        yield path, data
        return

    for key, value in items:
        yield from _list_leaves(value, f"{path}.{key}")
