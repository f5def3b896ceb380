"""What a run of training keeps for people: its best weights, and crops as the network makes them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from nas.data.pixels.base import bicubic_base
from nas.data.sets import ImageSet, Pixels
from nas.measure.quality import Upscaler, to_pixels, upscale_pixels
from nas.system.files.drafts import replaced
from nas.train.weights import load_upscaler, save_weights, weights_path
from search_spaces.network import Network
from search_spaces.spec import ArchSpec

SAMPLES = "samples"  # folder of a run
ORIGINALS = ("HR", "bicubic")
NUM_SAMPLES = 3  # images of which a crop is shown
LR_SIDE, LR_MARGIN = 28, 8  # of a crop, and what is seen around it, in LR pixels


@dataclass(frozen=True, slots=True)
class _Crop:
    """A square of an image, as HR pixels, and the LR pixels with some margin.

    Attributes:
        top, left: of the square within what is seen, in LR pixels.
    """

    hr: Pixels
    seen: Pixels
    top: int
    left: int


class Keepsakes:
    """Writes them into a run's folder.

    Attributes:
        weights: the file of the weights.

    Args:
        folder: the run directory.
        val: the images of which crops are shown; of each of the first few its richest place.
    """

    def __init__(self, folder: Path, spec: ArchSpec, val: ImageSet, device: torch.device) -> None:
        self.weights = weights_path(folder, spec)
        self._folder, self._spec, self._device = folder, spec, device
        self._val = val
        self._crops: list[_Crop] = []

    def keep_weights(self, net: Network, *, over_base: bool) -> None:
        """Write a plain network's weights, whole or not at all.

        Args:
            over_base: whether the network gives what is added to the bicubic base.
        Raises:
            OSError: they cannot be written; the file that was there stays.
        """
        save_weights(net, self._spec, self._folder, over_base=over_base)

    def load_weights(self) -> Network:
        """Return the whole network that lies in the file of weights."""
        net = load_upscaler(self._spec, self.weights)
        assert isinstance(net, Network)
        return net

    def keep_originals(self) -> None:
        """Write the crops as they should be, and as the base makes them."""
        scale = self._spec.scale
        if not self.sample_path(ORIGINALS[1]).exists():
            self._write(ORIGINALS[0], [crop.hr for crop in self._list_crops()])
            self.keep_sample(ORIGINALS[1], lambda x: bicubic_base(x, scale))

    def keep_sample(self, name: str, upscale: Upscaler) -> None:
        """Write the crops as an upscaler makes them, side by side in one picture."""
        scale, crops = self._spec.scale, []
        for crop in self._list_crops():
            output, _ = upscale_pixels(upscale, crop.seen, crop.seen, self._device)
            pixels = to_pixels(output)
            height, width = crop.hr.shape[:2]
            top, left = scale * crop.top, scale * crop.left
            crops.append(pixels[top : top + height, left : left + width])
        self._write(name, crops)

    def sample_path(self, name: str) -> Path:
        return self._folder / SAMPLES / f"{name}.png"

    def _list_crops(self) -> list[_Crop]:
        """Return the crops, which are cut when they are first asked for."""
        if not self._crops:
            pairs = [self._val.load(i) for i in range(min(NUM_SAMPLES, len(self._val)))]
            # Side by side they are of one height.
            side = min(LR_SIDE, *(min(lr.shape[:2]) for lr, _ in pairs))
            self._crops = [_cut_richest(lr, hr, side, self._spec.scale) for lr, hr in pairs]
        return self._crops

    def _write(self, name: str, crops: list[Pixels]) -> None:
        path = self.sample_path(name)
        with replaced(path, path.with_suffix(".partial")) as draft:
            Image.fromarray(np.concatenate(crops, axis=1)).save(draft, format="png")


def _cut_richest(lr: Pixels, hr: Pixels, side: int, scale: int) -> _Crop:
    """Cut the square of the largest variance out of an image."""
    grey = torch.from_numpy(lr).float().mean(-1)[None, None] / 255
    variance = F.avg_pool2d(grey**2, side, stride=1) - F.avg_pool2d(grey, side, stride=1) ** 2
    top, left = divmod(int(variance.argmax()), variance.shape[-1])

    first_row, first_column = max(0, top - LR_MARGIN), max(0, left - LR_MARGIN)
    end = side + LR_MARGIN
    return _Crop(
        hr=hr[scale * top : scale * (top + side), scale * left : scale * (left + side)],
        seen=lr[first_row : top + end, first_column : left + end],
        top=top - first_row,
        left=left - first_column,
    )
