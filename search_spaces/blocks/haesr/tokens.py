"""Sets of pixels that attend: HAESR's windows with their surroundings, and grids over the image.

Both cut (N, C, H, W), H and W multiples of 8, into sets of 64 queries, each of which attends to the
keys of its set: (sets, 64, C) and (sets, keys, C). A set's map has the shape (64, keys), its bias
is learned.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WINDOW = 8
NUM_QUERIES = WINDOW**2
RING = 4  # pixels around a window from which keys are taken
PATCH = WINDOW + 2 * RING
BIAS_STD = 0.02

Place = tuple[int, int]


def _list_star_places() -> Iterator[Place]:
    """Yield the places of eight rays that leave the window, straight and diagonal."""
    for s in range(RING):
        near, far = RING - 1 - s, RING + WINDOW + s
        yield from ((near, 8), (far, 8), (8, near), (8, far))
        yield from ((near, near), (near, far), (far, near), (far, far))


def _list_cross_places() -> Iterator[Place]:
    """Yield the two middle rows and columns, outside the window."""
    for s in range(RING):
        for k in (7, 8):
            yield from (
                (RING - 1 - s, k),
                (RING + WINDOW + s, k),
                (k, RING - 1 - s),
                (k, RING + WINDOW + s),
            )


def _list_corner_places() -> Iterator[Place]:
    """Yield the four 3x3 corners of the patch."""
    ends = (0, 1, 2, 13, 14, 15)
    yield from ((row, column) for row in ends for column in ends)


RINGS: dict[str, Callable[[], Iterator[Place]]] = {
    "star": _list_star_places,
    "cross": _list_cross_places,
    "corner": _list_corner_places,
}
GRIDS: dict[str, Place] = {
    "center": (7, 7),
    "row": (8, 7),
    "col": (7, 8),
}  # rows, columns of the extra keys


class LocalTokens(nn.Module):
    """Sets are 8x8 windows; keys are the window and places of a ring of 4 pixels around it.

    They are in raster order. Outside the image the ring is zero; such keys too take part in the
    softmax.

    Args:
        pattern: `star` (96 keys), `cross` (96) or `corner` (100): the places of the ring.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, pattern: str) -> None:
        super().__init__()
        inside = range(RING, RING + WINDOW)

        # Raster order, so that a bias belongs to the same place as in released weights.
        places = sorted(
            {*RINGS[pattern](), *((row, column) for row in inside for column in inside)}
        )

        rows, columns = torch.tensor(places).unbind(1)

        # Indices are no weights: they follow the module's device, and stay out of the state dict.
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)
        self.num_keys = len(places)

    def queries(self, x: Tensor) -> Tensor:
        num, channels, height, width = x.shape
        cut = x.reshape(num, channels, height // WINDOW, WINDOW, width // WINDOW, WINDOW)
        return cut.permute(0, 2, 4, 3, 5, 1).reshape(-1, NUM_QUERIES, channels)

    def keys(self, x: Tensor) -> Tensor:
        # One patch a window, with its surroundings; only the places of the pattern are read.
        patches = F.pad(x, [RING] * 4).unfold(2, PATCH, WINDOW).unfold(3, PATCH, WINDOW)
        keys: Tensor = patches[..., self.rows, self.columns]
        return keys.permute(0, 2, 3, 4, 1).flatten(0, 2)

    def image(self, tokens: Tensor, size: torch.Size) -> Tensor:
        """Queries back to (N, C, H, W)."""
        num, channels, height, width = size
        cut = tokens.reshape(num, height // WINDOW, width // WINDOW, WINDOW, WINDOW, channels)
        return cut.permute(0, 5, 1, 3, 2, 4).reshape(size)

    def make_bias(self) -> nn.Module:
        return FreeBias(self.num_keys)


class GridTokens(nn.Module):
    """Sets are 8x8 grids over the whole image; keys are the grid, then places of a grid between it.

    Pixels of a grid are H/8 and W/8 apart. The grid between is shifted by half of that in the
    directions in which it has 7 places, not 8, so that all of them are in the image.

    Args:
        pattern: `center` (7x7 more keys), `row` (8x7) or `col` (7x8).
    """

    def __init__(self, pattern: str) -> None:
        super().__init__()
        self.rows, self.columns = GRIDS[pattern]
        self.num_extra = self.rows * self.columns
        self.num_keys = NUM_QUERIES + self.num_extra

    def queries(self, x: Tensor) -> Tensor:
        return _split_grid(x, WINDOW, WINDOW)

    def keys(self, x: Tensor) -> Tensor:
        across, down = x.shape[3] // WINDOW, x.shape[2] // WINDOW  # distances in the grid
        top = down // 2 if self.rows < WINDOW else 0
        left = across // 2 if self.columns < WINDOW else 0
        between = x[:, :, top : top + self.rows * down, left : left + self.columns * across]
        return torch.cat([self.queries(x), _split_grid(between, self.rows, self.columns)], 1)

    def image(self, tokens: Tensor, size: torch.Size) -> Tensor:
        """Queries back to (N, C, H, W)."""
        num, channels, height, width = size
        cut = tokens.reshape(num, height // WINDOW, width // WINDOW, WINDOW, WINDOW, channels)
        return cut.permute(0, 5, 3, 1, 4, 2).reshape(size)

    def make_bias(self) -> nn.Module:
        return GridBias(self.num_extra)


def _split_grid(x: Tensor, rows: int, columns: int) -> Tensor:
    """Return (N*a*b, rows*columns, C) of (N, C, rows*a, columns*b).

    A set holds pixels that are a rows and b columns apart.
    """
    num, channels, height, width = x.shape
    cut = x.reshape(num, channels, rows, height // rows, columns, width // columns)
    return cut.permute(0, 3, 5, 2, 4, 1).reshape(-1, rows * columns, channels)


class FreeBias(nn.Module):
    """(1, 64, keys), each value learned."""

    def __init__(self, num_keys: int) -> None:
        super().__init__()
        self.free = nn.Parameter(torch.empty(1, NUM_QUERIES, num_keys))
        nn.init.trunc_normal_(self.free, std=BIAS_STD)

    def forward(self) -> Tensor:
        return self.free


class GridBias(nn.Module):
    """A bias (1, 64, 64 + extra): by distance for the first 64 keys, free for the others."""

    index: Tensor

    def __init__(self, num_extra: int) -> None:
        super().__init__()
        num_steps = 2 * WINDOW - 1  # from -7 to 7
        self.table = nn.Parameter(torch.randn(num_steps**2, 1))
        self.free = nn.Parameter(torch.empty(1, NUM_QUERIES, num_extra))
        nn.init.trunc_normal_(self.free, std=BIAS_STD)
        row, column = torch.arange(NUM_QUERIES) // WINDOW, torch.arange(NUM_QUERIES) % WINDOW

        # Relative places count from 0: they are rows of the table.
        down = row[:, None] - row + WINDOW - 1  # query less key
        across = column[:, None] - column + WINDOW - 1
        self.register_buffer("index", down * num_steps + across, persistent=False)

    def forward(self) -> Tensor:
        return torch.cat([self.table[:, 0][self.index][None], self.free], 2)
