"""A network that upscales pictures: whole where memory allows, else in tiles that equal the whole."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nas.data.pixels.base import bicubic_base
from nas.measure.cost import CHALLENGE_SIZE, measure_cost
from nas.measure.latency.subject import is_out_of_memory
from nas.measure.quality import full_float32
from nas.system.memory import free_memory
from nas.upscale.hidden import fill_hidden
from nas.upscale.picture import LUMA, Picture, Samples, SizeError
from nas.upscale.reach import Reach, find_period, measure_radius
from nas.upscale.tiles import Span, cut_tiles
from search_spaces.spec import ArchSpec

Step = Callable[[int, int], None]  # tiles that are done, and all of them
SHARE = 0.5  # of free memory that a forward may take
SLACK = 2.0  # operators take memory of their own beside the tensors that are counted
UNKNOWN_MEMORY = 2 * 2**30  # bytes, where the system does not tell
LARGEST_TILE = 1024  # LR pixels; larger ones are no faster
BLIND_OVERLAP = 32  # LR pixels around tiles of a network that looks at the whole image
BICUBIC_RADIUS = 2  # of the alpha channel
MIN_PIXELS = 2  # of a picture: one pixel alone shows nothing


class PictureUpscaler:
    """Upscales pictures with one network, in full float32.

    Args:
        net: (1, 3, H, W) in [0, 1] -> (1, 3, scale*H, scale*W), in evaluation mode.
        spec: its architecture, by which its memory is foretold.
        tile: LR pixels along a tile's side; 0: always whole; None: whole where memory allows.
    Attributes:
        notes: what was found out about the network while tiles were cut, a line each.
    Raises:
        ValueError: the tile is smaller than the overlap that it needs.
    """

    def __init__(
        self, net: nn.Module, spec: ArchSpec, *, device: torch.device, tile: int | None
    ) -> None:
        self.net, self.scale, self.device = net.to(device), spec.scale, device
        self.tile = tile
        self.notes: list[str] = []
        self._arch_id = spec.arch_id
        self._bytes_per_pixel = _foretell_bytes(spec)
        self._radius: int | None = None
        self._exact_net = net  # replaced by one in float64 when it is measured
        self._is_measured = False
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
        needed = num_bytes * height * width * (1 + self.scale**2)
        free = free_memory() or UNKNOWN_MEMORY
        if needed > free:
            raise SizeError(
                f"{height}x{width} (height x width): its result alone takes "
                f"{_show_gib(needed)}, {_show_gib(free)} are free; cut it into parts first"
            )

    def __call__(self, picture: Picture, step: Step | None = None) -> Picture:
        """Return a picture upscaled; alpha by the bicubic kernel, grey as grey.

        Args:
            step: called after each tile.
        Raises:
            ValueError: memory is out, the picture is too small for the network, or the output is
                not finite.
        """
        height, width = picture.height, picture.width
        tiles = cut_tiles(height, width, *self._plan(height, width))
        shape = (self.scale * height, self.scale * width, picture.pixels.shape[2])
        out: Samples = np.empty(shape, picture.pixels.dtype)
        pixels = _fill_hidden_pixels(picture)
        for place, (rows, columns) in enumerate(tiles):
            self._fill_tile(out, pixels, rows, columns)
            if step is not None:
                step(place + 1, len(tiles))
        return replace(picture, pixels=out)

    def describe_plan(self, height: int, width: int) -> str:
        """Return how a picture of a size is computed: whole, or in which tiles."""
        tile, overlap = self._plan(height, width)
        if tile >= max(height, width):
            return "whole"
        count = math.ceil(height / tile) * math.ceil(width / tile)
        return f"{count} tiles of {tile} with an overlap of {overlap}"

    def _plan(self, height: int, width: int) -> tuple[int, int]:
        """Return the side of the tiles and their overlap; one tile is the whole image.

        Raises:
            ValueError: neither the whole image nor a tile fits in memory.
        """
        whole = max(height, width)
        if self.tile == 0 or (self.tile and self.tile >= whole):
            return whole, 0
        if self.tile:
            overlap, period = self._find_overlap(height, width)
            return max(period, self.tile - self.tile % period), overlap

        # Whole where memory allows: no overlap is computed twice.
        largest = SHARE * self._free_bytes() / (SLACK * self._bytes_per_pixel)
        if height * width <= largest:
            return whole, 0
        return self._plan_by_memory(height, width, largest)

    def _plan_by_memory(self, height: int, width: int, largest: float) -> tuple[int, int]:
        """Return the largest tiles that fit, where the whole image does not.

        Args:
            largest: most LR pixels of a forward.
        """
        if self._measure() is None or self._find_period(height, width) is None:
            needed = self._bytes_per_pixel * SLACK * height * width
            raise ValueError(
                f"{height}x{width} (height x width) needs about {_show_gib(needed)}, "
                f"{_show_gib(self._free_bytes())} are free, and {self._explain()}: tile=256 goes on "
                "in tiles whose borders may show"
            )
        overlap, period = self._find_overlap(height, width)
        side = min(int(math.sqrt(largest)) - 2 * overlap, LARGEST_TILE)
        side -= side % period
        if side < overlap:
            raise ValueError(
                f"memory is too short for a tile of {overlap} LR pixels with its overlap: "
                f"{_show_gib(self._free_bytes())} are free"
            )
        return side, overlap

    def _find_overlap(self, height: int, width: int) -> tuple[int, int]:
        """Return the overlap of tiles, and the pixels to whose multiples they are cut."""
        radius, period = self._measure(), None
        if radius is not None:
            period = self._find_period(height, width)
        if radius is None or period is None:
            self._note(f"{self._explain()}: borders of the tiles may show")
            return BLIND_OVERLAP, 1
        return Reach(radius=radius, period=period).overlap, period

    def _measure(self) -> int | None:
        """Return the radius of the receptive field, with that of the alpha channel's kernel.

        None: tiles cannot equal the whole, whatever the image.
        """
        if not self._is_measured:
            self._is_measured = True
            self._exact_net = copy.deepcopy(self.net).to("cpu", torch.float64)
            radius = measure_radius(self._exact_net, self.scale)
            self._radius = None if radius is None else max(radius, BICUBIC_RADIUS)
            # An image whose sides are multiples of any period is the easiest to be tiled.
            if self._radius is not None and self._find_period(0, 0) is None:
                self._radius = None
        return self._radius

    def _find_period(self, height: int, width: int) -> int | None:
        assert self._radius is not None
        # Only the remainders count: those of 64 hold those of every period.
        key = (height % 64, width % 64)
        if key not in self._periods:
            self._periods[key] = find_period(self._exact_net, self.scale, self._radius, key)
        return self._periods[key]

    def _check_tile(self, tile: int) -> None:
        """Refuse a tile that is smaller than its overlap: it would cost a multiple of the whole."""
        radius = self._measure()
        if radius is None:
            self._note(f"{self._explain()}: borders of the tiles may show")
        elif tile < radius:
            raise ValueError(
                f"tile={tile} is smaller than the overlap of {radius} LR pixels that "
                f"{self._arch_id} needs on each side, its receptive field; use tile={radius} or "
                "more, or tile=auto"
            )

    def _explain(self) -> str:
        """Return why tiles cannot equal the whole."""
        if self._radius is None:
            return (
                f"{self._arch_id} looks at the whole image, or divides it by its size, so it "
                "cannot be tiled exactly"
            )
        return (
            f"{self._arch_id} divides images of this size into uneven cells, so it cannot be tiled "
            "exactly"
        )

    def _note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)

    def _fill_tile(self, out: Samples, pixels: Samples, rows: Span, columns: Span) -> None:
        """Upscale one tile and put it, without its overlap, into the result."""
        full = np.iinfo(pixels.dtype).max
        crop = pixels[rows.first : rows.last, columns.first : columns.last]
        x = torch.from_numpy(crop.astype(np.float32) / full).permute(2, 0, 1).unsqueeze(0)
        upscaled = self._upscale_samples(x.to(self.device))

        inner = upscaled[
            0,
            :,
            self.scale * (rows.begin - rows.first) : self.scale * (rows.end - rows.first),
            self.scale * (columns.begin - columns.first) : self.scale
            * (columns.end - columns.first),
        ]
        if not inner.isfinite().all():
            raise ValueError("weights: the network's output is not finite; they did not train well")
        target = out[
            self.scale * rows.begin : self.scale * rows.end,
            self.scale * columns.begin : self.scale * columns.end,
        ]
        levels: npt.NDArray[np.float32] = (inner.clamp(0, 1) * full).round().cpu().numpy()
        target[:] = levels.transpose(1, 2, 0).astype(out.dtype)

    def _upscale_samples(self, x: Tensor) -> Tensor:
        """Upscale (1, C, H, W) of grey or RGB, with alpha where C is even."""
        has_alpha, is_grey = x.shape[1] in (2, 4), x.shape[1] < 3
        colours = x[:, :-1] if has_alpha else x
        output = self._run_network(colours.expand(1, 3, -1, -1))
        if is_grey:
            weights = torch.tensor(LUMA, device=output.device)[:, None, None]
            output = (output.clamp(0, 1) * weights).sum(1, keepdim=True)
        if not has_alpha:
            return output
        return torch.cat([output, bicubic_base(x[:, -1:], self.scale)], 1)

    def _run_network(self, x: Tensor) -> Tensor:
        try:
            with torch.inference_mode(), full_float32(self.device):
                output: Tensor = self.net(x.to(self.device))
            return output
        except (RuntimeError, ValueError) as error:
            if isinstance(error, RuntimeError) and is_out_of_memory(error):
                reason = "memory is out; use a smaller tile=N"
            else:
                reason = f"the network cannot take {x.shape[2]}x{x.shape[3]}: {error}"
        # Outside of the handler: the error's frames hold what has to be freed.
        raise ValueError(reason)

    def _free_bytes(self) -> float:
        if self.device.type == "cuda":
            return float(torch.cuda.mem_get_info(self.device)[0])
        return float(free_memory() or UNKNOWN_MEMORY)


def _fill_hidden_pixels(picture: Picture) -> Samples:
    """Return the pixels, those that are wholly transparent in the colours beside them."""
    pixels = picture.pixels
    if not picture.has_alpha or pixels[..., -1].min() > 0:
        return pixels
    full = np.iinfo(pixels.dtype).max
    x = torch.from_numpy(pixels.astype(np.float32) / full).permute(2, 0, 1).unsqueeze(0)
    colours = fill_hidden(x[:, :-1], x[:, -1:])[0].permute(1, 2, 0).numpy()
    filled = (colours * full).round().astype(pixels.dtype)
    return np.concatenate([filled, pixels[..., -1:]], 2)


def _foretell_bytes(spec: ArchSpec) -> float:
    """Return how many bytes a forward takes for each LR pixel, weights left out."""
    cost = measure_cost(spec)
    return (cost.memory_mib * 2**20 - 4 * cost.params) / math.prod(CHALLENGE_SIZE)


def _show_gib(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:,.1f} GiB"
