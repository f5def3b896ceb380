"""What a table will hold: every member of a space, and how often each is trained."""

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nas.analysis.ladder import rung_spec
from nas.search.model.decisions import MAX_LISTED, IndexChooser, read_decisions
from search_spaces.chooser import Space
from search_spaces.spec import ArchSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class TableContents:
    """What a table will hold.

    Attributes:
        members: every architecture of the space, by arch_id.
        ladder_sizes: SPAN-like members, channels x blocks, smallest first; the last is the
            baseline.
        repeated: arch_ids of the members that are trained with every seed, the ladder's among them.
        num_seeds: how many seeds there are.
    """

    members: Mapping[str, ArchSpec]
    ladder_sizes: tuple[str, ...]
    repeated: frozenset[str]
    num_seeds: int
    scale: int

    @classmethod
    def of(
        cls,
        space: Space,
        *,
        ladder_sizes: Sequence[str],
        num_seeds: int,
        num_repeated: int,
        scale: int,
        seed: int,
    ) -> "TableContents":
        """List a space.

        Args:
            num_repeated: members that are trained with every seed; beside the ladder's they are
                drawn.
        Raises:
            ValueError: the space is too large for a table, or a size of the ladder is not in it.
        """
        # Two points may be one architecture: members are unique by what they compute.
        members = {spec.arch_id: spec for spec in all_members(space)}
        ladder = {size: rung_spec(size, scale).arch_id for size in ladder_sizes}
        if outside := [size for size, arch_id in ladder.items() if arch_id not in members]:
            raise ValueError(
                f"ladder: {', '.join(outside)} (SPAN, channels x blocks) is not in the space, "
                "whose table is judged by it; name members of the space, such as its smallest and "
                "its largest"
            )

        # Sorted, as the draw of a seed must not depend on the order of the space.
        others = sorted(members.keys() - set(ladder.values()))
        num_drawn = min(len(others), max(0, num_repeated - len(ladder)))
        drawn = random.Random(seed).sample(others, num_drawn)
        return cls(
            members=members,
            ladder_sizes=tuple(ladder_sizes),
            repeated=frozenset([*ladder.values(), *drawn]),
            num_seeds=num_seeds,
            scale=scale,
        )

    @property
    def baseline(self) -> ArchSpec:
        """The largest size of the ladder."""
        return rung_spec(self.ladder_sizes[-1], self.scale)

    def trainings(self) -> list[tuple[str, int]]:
        """List arch_id and seed of each training, seed by seed.

        The baseline's first one leads: the others are called stuck by what it reached.
        """
        first = self.baseline.arch_id
        arch_ids = [first, *(arch_id for arch_id in self.members if arch_id != first)]
        return [
            (arch_id, seed)
            for seed in range(self.num_seeds)
            for arch_id in arch_ids
            if seed == 0 or arch_id in self.repeated
        ]


def all_members(space: Space) -> Iterator[ArchSpec]:
    """Give every point of a space; one architecture may come more than once.

    Raises:
        ValueError: there are too many.
    """
    # Index by index: an option may be a list, which is no key.
    options = {decision.name: decision.num_options for decision in read_decisions(space)}
    if (num_points := math.prod(options.values())) > MAX_LISTED:
        raise ValueError(
            f"space: it has {num_points:,} points, a table holds every one of them and takes at "
            f"most {MAX_LISTED:,}; narrow it, for example space.num_blocks=[1,2]"
        )
    for point in itertools.product(*map(range, options.values())):
        yield space.sample(IndexChooser(dict(zip(options, point, strict=True))))
