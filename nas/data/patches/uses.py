"""Which images of which sources a training uses, and how often their patches are drawn."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceUse:
    """How a training uses one source of its data.

    Attributes:
        weight: how often its patches are drawn, relative to the other sources; null: by the number
            of its images, so that the images of all sources are drawn alike.
        first: only that many of its images, in the order of their names; null: all.
        share: only that share of them, drawn by the run's seed, above 0 and at most 1.
    """

    weight: float | None = None
    first: int | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.weight is not None and not self.weight > 0:
            raise ValueError(f"weight must be above 0, got {self.weight:g}; leave the source out")
        if self.first is not None and self.first < 1:
            raise ValueError(f"first must be at least 1, got {self.first}; null takes all images")
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {self.share:g}")


def check_uses(uses: Mapping[str, SourceUse]) -> None:
    """Refuse uses of no source, and weights beside numbers of images.

    Raises:
        ValueError: the message starts with sources.
    """
    if not uses:
        raise ValueError("sources is empty; null takes all images, as the data say")
    weighted = [name for name, use in uses.items() if use.weight is not None]
    if 0 < len(weighted) < len(uses):
        raise ValueError(
            f"sources: {', '.join(weighted)} has a weight, others have null; give a weight to all "
            "of them, or to none"
        )


def select_images(
    sources: Sequence[str], uses: Mapping[str, SourceUse], seed: int
) -> tuple[list[int], dict[str, float]]:
    """Choose images by the uses of their sources.

    A source that no image comes from is left out; what comes from no source that is named, too.

    Args:
        sources: of each image, which lie in the order of their names within each source.
        seed: of the shares that are drawn; equal ones draw equal images, whatever else is used.
    Returns:
        Places of the chosen images, rising, and the weight of each of their sources; both are empty
        where no image comes from a source that is named.

    Example:
        >>> uses = {"a": SourceUse(first=2), "c": SourceUse()}
        >>> select_images(["a", "a", "b", "a"], uses, seed=0)
        ([0, 1], {'a': 2.0})
    """
    places: list[int] = []
    weights: dict[str, float] = {}
    for name, use in uses.items():
        there = [place for place, source in enumerate(sources) if source == name][: use.first]
        if not there:
            continue
        chosen = _draw_share(there, use.share, seed, name)
        places += chosen
        weights[name] = float(len(chosen)) if use.weight is None else use.weight
    return sorted(places), weights


def describe_uses(uses: Mapping[str, SourceUse], sources: Collection[str]) -> str:
    """Say where sources that are named and sources of the data differ; empty: they do not.

    Example:
        >>> describe_uses({"a": SourceUse(), "c": SourceUse()}, ["a", "b"])
        'the data have no c, the others train without; b is not named and does not train'
    """
    missing = ", ".join(name for name in uses if name not in sources)
    if not any(name in sources for name in uses):
        return f"the data have no {missing}: all their images train"

    words = [f"the data have no {missing}, the others train without"] if missing else []
    unused = ", ".join(sorted(name for name in sources if name not in uses))
    if unused:
        words.append(f"{unused} is not named and does not train")
    return "; ".join(words)


def _draw_share(places: list[int], share: float, seed: int, name: str) -> list[int]:
    """Draw a share of some places, at least one of them, in their order."""
    if share == 1:
        return places
    # Raw words of a counter-based generator: no NumPy version changes what they are.
    key = [seed, zlib.crc32(name.encode())]
    words = np.random.Philox(np.random.SeedSequence(key)).random_raw(len(places))
    count = max(1, round(share * len(places)))
    return sorted(places[i] for i in np.argsort(words, kind="stable")[:count])
