"""An image in tiles: each is upscaled with what it needs around it, and cut out again."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A tile along one axis, in LR pixels.

    Attributes:
        begin, end: what the tile is to give.
        first, last: what it is computed from; its overlap ends where the image does.
    """

    begin: int
    end: int
    first: int
    last: int


def cut_spans(side: int, tile: int, overlap: int) -> list[Span]:
    """Return the tiles along a side of an image.

    Args:
        tile: pixels that each gives, the last one fewer.
        overlap: pixels on each side that it is computed from besides.

    Example:
        >>> [(span.first, span.begin, span.end, span.last) for span in cut_spans(70, 32, 8)]
        [(0, 0, 32, 40), (24, 32, 64, 70), (56, 64, 70, 70)]
    """
    return [
        Span(
            begin=begin,
            end=min(begin + tile, side),
            first=max(0, begin - overlap),
            last=min(begin + tile + overlap, side),
        )
        for begin in range(0, side, tile)
    ]


def cut_tiles(height: int, width: int, tile: int, overlap: int) -> list[tuple[Span, Span]]:
    """Return the tiles of an image, row by row, each as its rows and its columns."""
    columns = cut_spans(width, tile, overlap)
    return [(row, column) for row in cut_spans(height, tile, overlap) for column in columns]
