"""How a picture is computed: whole where memory allows, else in tiles that equal the whole."""

import copy
import math
from dataclasses import dataclass

import torch
from torch import nn

from nas.measure.cost import CHALLENGE_SIZE, measure_cost
from nas.system.memory import free_memory
from nas.upscale.picture import SizeError
from nas.upscale.reach import Reach, find_period, measure_radius
from search_spaces.spec import ArchSpec

SHARE = 0.5  # of free memory that a forward may take
SLACK = 2.0  # operators take memory of their own beside the tensors that are counted
UNKNOWN_MEMORY = 2 * 2**30  # bytes, where the system does not tell
LARGEST_TILE = 1024  # LR pixels; larger ones are no faster
BLIND_OVERLAP = 32  # least LR pixels around tiles that cannot equal the whole
BICUBIC_RADIUS = 2  # of the alpha channel
MIN_PIXELS = 2  # of a picture: one pixel alone shows nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The tiles of one picture.

    Attributes:
        tile: LR pixels along a tile's side; one tile may be the whole picture.
        overlap: LR pixels that each is computed from besides, on every side.
        why_inexact: why tiles differ from the whole; empty: they do not.
    """

    tile: int
    overlap: int = 0
    why_inexact: str = ""

    def describe(self, height: int, width: int) -> str:
        """Return the plan of a picture in words."""
        if self.tile >= max(height, width):
            return "whole"
        count = math.ceil(height / self.tile) * math.ceil(width / self.tile)
        return f"{count} tiles of {self.tile} with an overlap of {self.overlap}"


class Planner:
    """Plans pictures for one network, whose receptive field it measures when tiles are needed.

    Args:
        net: (1, 3, H, W) in [0, 1] -> (1, 3, scale*H, scale*W), in evaluation mode.
        spec: its architecture, by which its memory is foretold.
        tile: LR pixels along a tile's side; 0: always whole; None: whole where memory allows.
    Raises:
        ValueError: the tile is smaller than the overlap that it needs.
    """

    def __init__(
        self, net: nn.Module, spec: ArchSpec, *, device: torch.device, tile: int | None
    ) -> None:
        self.net, self.spec, self.device, self.tile = net, spec, device, tile
        self._bytes_per_pixel = SLACK * _foretell_bytes(spec)
        self._exact_net: nn.Module | None = None  # in float64, once the radius was measured
        self._radius: int | None = None
        self._blind_overlap = BLIND_OVERLAP
        self._periods: dict[tuple[int, int], int | None] = {}
        if tile:
            self._check_tile(tile)

    def check_size(self, height: int, width: int, num_bytes: int) -> None:
        """Refuse a picture before it is decoded.

        Args:
            num_bytes: of a pixel.
        Raises:
            SizeError: it is a single pixel, or its result does not fit in memory.
        """
        if height * width < MIN_PIXELS:
            raise SizeError(f"{height}x{width}: a single pixel is no picture to upscale")
        needed = num_bytes * height * width * (1 + self.spec.scale**2)
        free = free_memory() or UNKNOWN_MEMORY
        if needed > free:
            raise SizeError(
                f"{height}x{width} (height x width): its result alone takes "
                f"{_show_gib(needed)}, {_show_gib(free)} are free; cut it into parts first"
            )

    def plan(self, height: int, width: int) -> Plan:
        """Return how a picture of a size is computed.

        Raises:
            ValueError: neither the whole picture nor a tile fits in memory.
        """
        whole = Plan(tile=max(height, width))
        if self.tile == 0 or (self.tile and self.tile >= whole.tile):
            return whole
        if self.tile:
            reach = self._find_reach(height, width)
            if reach is None:
                return Plan(
                    tile=self.tile,
                    overlap=self._blind_overlap,
                    why_inexact=self._explain_inexact(),
                )
            tile = max(reach.period, self.tile - self.tile % reach.period)
            return Plan(tile=tile, overlap=reach.overlap)

        # Whole where memory allows: no overlap is computed twice.
        free = self._count_free()
        if height * width * self._bytes_per_pixel <= SHARE * free:
            return whole
        return self._plan_by_memory(height, width, free)

    def _plan_by_memory(self, height: int, width: int, free: float) -> Plan:
        """Return the largest tiles that fit where the whole picture does not.

        Args:
            free: bytes.
        """
        reach = self._find_reach(height, width)
        if reach is None:
            needed = self._bytes_per_pixel * height * width
            raise ValueError(
                f"{height}x{width} (height x width) needs about {_show_gib(needed)}, "
                f"{_show_gib(free)} are free, and {self._explain_inexact()}; tile=256 goes on in "
                "tiles whose borders may show"
            )

        side = int(math.sqrt(SHARE * free / self._bytes_per_pixel)) - 2 * reach.overlap
        side = min(side, LARGEST_TILE) // reach.period * reach.period
        if side < reach.overlap:
            raise ValueError(
                f"memory is too short for a tile of {reach.overlap} LR pixels with its overlap: "
                f"{_show_gib(free)} are free"
            )
        return Plan(tile=side, overlap=reach.overlap)

    def _check_tile(self, tile: int) -> None:
        """Refuse a tile that is smaller than its overlap: it would cost a multiple of the whole."""
        radius = self._measure_radius()
        overlap, whose = radius or self._blind_overlap, "its receptive field"
        if radius is None:
            whose = "the least around tiles that cannot equal the whole"
        if tile < overlap:
            raise ValueError(
                f"tile={tile} is smaller than the overlap of {overlap} LR pixels that "
                f"{self.spec.arch_id} needs on each side, {whose}; use tile={overlap} or more, or "
                "tile=auto"
            )

    def _find_reach(self, height: int, width: int) -> Reach | None:
        """Return what tiles of a picture need; None: they cannot equal the whole."""
        radius = self._measure_radius()
        period = None if radius is None else self._find_period(radius, height, width)
        if radius is None or period is None:
            return None
        return Reach(radius=radius, period=period)

    def _measure_radius(self) -> int | None:
        """Return the radius of the receptive field, with that of the alpha channel's kernel.

        None: tiles cannot equal the whole, whatever the picture.
        """
        if self._exact_net is None:
            self._exact_net = copy.deepcopy(self.net).to("cpu", torch.float64)
            radius = measure_radius(self._exact_net, self.spec.scale)
            self._blind_overlap = max(BLIND_OVERLAP, radius or 0)
            # A picture whose sides are multiples of any period is the easiest to be tiled.
            if radius is not None and self._find_period(radius, 0, 0) is not None:
                self._radius = max(radius, BICUBIC_RADIUS)
        return self._radius

    def _find_period(self, radius: int, height: int, width: int) -> int | None:
        assert self._exact_net is not None
        # Only the remainders count: those of 64 hold those of every period.
        key = (height % 64, width % 64)
        if key not in self._periods:
            self._periods[key] = find_period(self._exact_net, self.spec.scale, radius, key)
        return self._periods[key]

    def _explain_inexact(self) -> str:
        """Return why tiles cannot equal the whole."""
        how = "looks at the whole image, or divides it by its size"
        if self._radius is not None:
            how = "divides an image of this size into uneven cells"
        return f"{self.spec.arch_id} {how}, so it cannot be tiled exactly"

    def _count_free(self) -> float:
        """Return the bytes that are free where the network runs."""
        if self.device.type == "cuda":
            return float(torch.cuda.mem_get_info(self.device)[0])
        return float(free_memory() or UNKNOWN_MEMORY)


def _foretell_bytes(spec: ArchSpec) -> float:
    """Return how many bytes a forward takes for each LR pixel, weights left out."""
    cost = measure_cost(spec)
    return (cost.memory_mib * 2**20 - 4 * cost.params) / math.prod(CHALLENGE_SIZE)


def _show_gib(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:,.1f} GiB"
