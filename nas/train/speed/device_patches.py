"""Training patches that are cut on the device, from images that lie there as uint8."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nas.data.patches.decoded import Decoded, Planes
from nas.data.patches.store import TRANSPOSED, Crop, PatchStore, Shape

SHARE_OF_MEMORY = 0.4  # of a GPU's free memory that images may take


class DeviceImages:
    """Decoded images on a device, one after the other in two tensors of bytes.

    Args:
        images: all that any store of a training may cut from.
    """

    def __init__(self, images: Sequence[Decoded], device: torch.device) -> None:
        self.device = device
        # By identity: stores of some of the images hold the same objects.
        self.places = {id(image): place for place, image in enumerate(images)}
        self._images = list(images)
        self.lr = _Plane([image.lr for image in images], device)
        self.hr = _Plane([image.hr for image in images], device)

    @classmethod
    def place(cls, patches: PatchStore, device: torch.device) -> DeviceImages | None:
        """Return the images on a GPU; None where they do not fit, and for a CPU."""
        if device.type != "cuda":
            return None
        free, _ = torch.cuda.mem_get_info(device)
        num_bytes = sum(image.lr.nbytes + image.hr.nbytes for image in patches.images)
        return cls(patches.images, device) if num_bytes < SHARE_OF_MEMORY * free else None

    def cut(self, patches: PatchStore) -> DevicePatches:
        """Return what gives the patches of a store, of these images."""
        return DevicePatches(self, patches)


class DevicePatches:
    """Gives the patches that a store gives, to the bit, on the device.

    Args:
        images: among which the store's lie.
        patches: that draws where they are cut.
    """

    def __init__(self, images: DeviceImages, patches: PatchStore) -> None:
        self._images = images
        self._patches = patches
        self._places = [images.places[id(image)] for image in patches.images]

    def batch(self, step: int, batch_size: int, patch: int | Shape) -> tuple[Tensor, Tensor]:
        """Cut the patches of one step; see `PatchStore.batch`."""
        shape = (patch, patch) if isinstance(patch, int) else patch
        crops = self._patches.draw_crops(step, batch_size, shape)
        placed = [(self._places[image], y, x, turn) for image, y, x, turn in crops]
        return (
            self._images.lr.cut(placed, shape, 1),
            self._images.hr.cut(placed, shape, self._patches.scale),
        )


class _Plane:
    """Images of one kind, as one tensor of bytes, with their places and sides."""

    def __init__(self, images: Sequence[Planes], device: torch.device) -> None:
        # One after the other: a copy of all of them on the host would be a second set of images.
        sizes = [image.size for image in images]
        self._bytes = torch.empty(sum(sizes), dtype=torch.uint8, device=device)
        self._starts = np.cumsum([0, *sizes[:-1]])
        self._sides = np.array([image.shape[1:] for image in images])
        for image, start in zip(images, self._starts, strict=True):
            flat = torch.from_numpy(
                np.array(image).reshape(-1)
            )  # a copy: files are mapped read-only
            self._bytes[start : start + image.size] = flat.to(device)
        # A tensor: by a number a GPU multiplies with 1/255, which is rounded otherwise.
        self._most = torch.tensor(255.0, device=device)

    def cut(self, crops: Sequence[Crop], shape: Shape, factor: int) -> Tensor:
        """Return patches, (N, 3, factor h, factor w), float32 in [0, 1].

        Args:
            crops: image, top and left in LR pixels, and orientation, of each.
            shape: h, w.
            factor: of these images' pixels over LR pixels.
        """
        first, down, across, step = self._locate(np.array(crops), shape, factor)
        height, width = (factor * side for side in shape)
        device = self._bytes.device
        rows = torch.arange(height, device=device)[:, None] * _spread(down, device)
        columns = torch.arange(width, device=device)[None] * _spread(across, device)
        colours = torch.arange(3, device=device)[:, None, None] * _spread(step, device)
        index = _spread(first, device) + colours + rows + columns
        return self._bytes[index].float() / self._most

    def _locate(
        self, crops: np.ndarray, shape: Shape, factor: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return where each patch's first pixel lies, and how far the next ones are.

        Returns:
            Byte of the first pixel, then the bytes to the next row, to the next column and to the
            next colour, (N,) each.
        """
        image, y, x, turn = crops.T
        height, width = self._sides[image].T
        lies = (turn & TRANSPOSED) > 0
        crop_height, crop_width = (
            factor * np.where(lies, shape[1 - axis], shape[axis]) for axis in range(2)
        )

        # A flip reads an axis backwards from its last pixel; a patch on its side swaps the axes.
        flips_x, flips_y = (turn & 1) > 0, (turn & 2) > 0
        top = factor * y + np.where(flips_y, crop_height - 1, 0)
        left = factor * x + np.where(flips_x, crop_width - 1, 0)
        down, across = np.where(flips_y, -width, width), np.where(flips_x, -1, 1)
        return (
            self._starts[image] + top * width + left,
            np.where(lies, across, down),
            np.where(lies, down, across),
            height * width,
        )


def _spread(values: np.ndarray, device: torch.device) -> Tensor:
    """Return a value a patch, (N, 1, 1, 1)."""
    return torch.from_numpy(values.astype(np.int64)).to(device)[:, None, None, None]
