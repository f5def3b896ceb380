"""A network over pictures: colours by the network, alpha by the bicubic kernel, grey as grey."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nas.data.pixels.base import bicubic_base
from nas.measure.latency.subject import is_out_of_memory
from nas.measure.quality import full_float32
from nas.upscale.hidden import fill_hidden
from nas.upscale.picture import LUMA, Picture, Samples
from nas.upscale.planning import Plan
from nas.upscale.tiles import Span, cut_tiles

Step = Callable[[int, int], None]  # tiles that are done, and all of them


class PictureUpscaler:
    """Upscales pictures with one network, in full float32.

    Args:
        net: (1, 3, H, W) in [0, 1] -> (1, 3, scale*H, scale*W), in evaluation mode.
        device: where it lies.
    """

    def __init__(self, net: nn.Module, scale: int, device: torch.device) -> None:
        self.net, self.scale, self.device = net, scale, device

    def __call__(self, picture: Picture, plan: Plan, step: Step | None = None) -> Picture:
        """Return a picture upscaled.

        Args:
            step: called after each tile.
        Raises:
            ValueError: memory is out, the picture is too small for the network, or the output is
                not finite.
        """
        shape = (self.scale * picture.height, self.scale * picture.width, picture.pixels.shape[2])
        out: Samples = np.empty(shape, picture.pixels.dtype)
        pixels = _fill_hidden_pixels(picture)
        tiles = cut_tiles(picture.height, picture.width, plan.tile, plan.overlap)
        for place, (rows, columns) in enumerate(tiles):
            self._fill_tile(out, pixels, rows, columns)
            if step is not None:
                step(place + 1, len(tiles))
        return replace(picture, pixels=out)

    def _fill_tile(self, out: Samples, pixels: Samples, rows: Span, columns: Span) -> None:
        """Upscale one tile and put it, without its overlap, into the result."""
        full, scale = np.iinfo(pixels.dtype).max, self.scale
        crop = pixels[rows.first : rows.last, columns.first : columns.last]
        x = torch.from_numpy(crop.astype(np.float32) / full).permute(2, 0, 1).unsqueeze(0)
        upscaled = self._upscale_samples(x.to(self.device))

        top, left = scale * (rows.begin - rows.first), scale * (columns.begin - columns.first)
        height, width = scale * (rows.end - rows.begin), scale * (columns.end - columns.begin)
        inner = upscaled[0, :, top : top + height, left : left + width]
        if not inner.isfinite().all():
            raise ValueError("weights: the network's output is not finite; they did not train well")

        levels: npt.NDArray[np.float32] = (inner.clamp(0, 1) * full).round().cpu().numpy()
        target = out[scale * rows.begin : scale * rows.end]
        target[:, scale * columns.begin : scale * columns.end] = levels.transpose(1, 2, 0)

    def _upscale_samples(self, x: Tensor) -> Tensor:
        """Upscale (1, C, H, W) of grey or RGB, with alpha where C is even."""
        has_alpha, is_grey = x.shape[1] in (2, 4), x.shape[1] < 3
        colours = x[:, :-1] if has_alpha else x
        output = self._run_network(colours.expand(1, 3, -1, -1))
        if is_grey:
            weights = torch.tensor(LUMA, device=output.device)[:, None, None]
            # A sum with a NaN is a NaN, so that it is still found.
            output = (output.clamp(0, 1) * weights).sum(1, keepdim=True)
        if not has_alpha:
            return output
        return torch.cat([output, bicubic_base(x[:, -1:], self.scale)], 1)

    def _run_network(self, x: Tensor) -> Tensor:
        try:
            with torch.inference_mode(), full_float32(self.device):
                output: Tensor = self.net(x)
            return output
        except (RuntimeError, ValueError) as error:
            reason = f"the network cannot take {x.shape[2]}x{x.shape[3]}: {error}"
            if isinstance(error, RuntimeError) and is_out_of_memory(error):
                reason = "memory is out; use a smaller tile=N"
        # Outside of the handler: the error's frames hold what has to be freed.
        raise ValueError(reason)


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
