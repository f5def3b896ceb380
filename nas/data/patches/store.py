"""Training patches: images are decoded once as uint8, and a batch is cropped from them by index."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from nas.data.patches.decoded import Decoded, Planes, decode_images
from nas.data.patches.index import DamageError
from nas.data.patches.shards import load_shards, write_shards
from nas.data.patches.shared import open_cache
from nas.data.patches.uses import SourceUse, select_images
from nas.data.sets import ImageSet
from nas.system.files.owned_folder import OwnedFolder

Shape = tuple[int, int]  # height and width of LR patches
Crop = tuple[int, int, int, int]  # image, top and left in LR pixels, orientation
TRANSPOSED = 4  # bit of an orientation: height and width change places


@dataclass(frozen=True, slots=True)
class _Positions:
    """Every place where a patch of one size fits, numbered through source by source."""

    images: npt.NDArray[np.intp]  # those that are large enough, by source
    ends: npt.NDArray[np.int64]  # running number of positions up to and with each of these images
    widths: npt.NDArray[np.int64]  # positions in a row of each
    starts: npt.NDArray[np.int64]  # first position of each source
    counts: npt.NDArray[np.int64]  # positions of each source
    shares: npt.NDArray[np.float64]  # running share of the patches up to and with each source


class PatchStore:
    """Random aligned LR and HR patches of a set, a pure function of (seed, step).

    A source is drawn by its weight, then a position in it. All positions in its images are equally
    likely, so large images are drawn more often. Then one of eight flips and turns is drawn.

    Example:
        >>> store = PatchStore(images, seed=0)  # images: the ImageSet of data.train
        >>> lr, hr = store.batch(step=0, batch_size=2, patch=8)
        >>> tuple(lr.shape), tuple(hr.shape)
        ((2, 3, 8, 8), (2, 3, 32, 32))
    """

    def __init__(
        self,
        images: ImageSet,
        *,
        seed: int,
        memory_mib: float = 8192,
        cache: str | Path | None = None,
        shared: Path | None = None,
        progress: bool = True,
    ) -> None:
        """Decode a set, or map what was decoded.

        Args:
            images: the training set.
            seed: of every draw, at least 0.
            memory_mib: a set that needs more lies in memory-mapped files.
            cache: where these go, to be found again by the next run; a temporary folder when None.
            shared: folder of `SharedImages`, which is mapped where it is there.
            progress: whether a bar may be shown while decoding takes long.
        Raises:
            ValueError: an image cannot be read and the set's `on_error` is stop, or nothing is
                left.
        """
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed=}")

        self.seed = seed
        self.scale = images.scale
        self.notices: list[str] = []
        self._on_error = images.on_error
        self._weights = dict(images.weights)
        self._share = (0, 1)  # number of this process among those that share a batch, and of all
        # Positions by the shape of patches, as they are first asked for.
        self._positions: dict[Shape, _Positions] = {}
        self._temporary: OwnedFolder | None = None  # goes with the last store that uses it

        self._images = (shared and _map_shared(shared, images)) or self._open_images(
            images, memory_mib, cache, progress
        )
        if not self._images:
            raise ValueError(
                f"no image of the {images.name} set could be read: {'; '.join(self.notices[:3])}"
            )

    def __len__(self) -> int:
        return len(self._images)

    @property
    def images(self) -> list[Decoded]:
        """The decoded images that patches are cut from."""
        return self._images

    def with_seed(self, seed: int) -> PatchStore:
        """Return a store of the same images with another seed; nothing is decoded or copied."""
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed=}")
        other = copy.copy(self)
        other.seed = seed
        return other

    def with_share(self, rank: int, size: int) -> PatchStore:
        """Return a store that cuts one process's share of each batch; nothing is decoded or copied.

        All shares together are the batch of one process, in the order of their ranks.

        Args:
            rank: of the process, from 0.
            size: number of processes.
        """
        assert 0 <= rank < size
        other = copy.copy(self)
        other._share = (rank, size)
        return other

    @property
    def sources(self) -> set[str]:
        """The names of the sources that the images come from."""
        return {image.source for image in self._images}

    def with_sources(self, uses: Mapping[str, SourceUse], *, seed: int) -> PatchStore:
        """Return a store of some of the images, drawn by other weights; nothing is decoded again.

        Sources that the images do not come from are left out. Where they come from none of those
        that are named, the store is as it was; `describe_uses` says so in words.

        Args:
            seed: of the shares that are drawn.
        """
        names = [image.source for image in self._images]
        places, weights = select_images(names, uses, seed)
        other = copy.copy(self)
        if places:
            other._images = [self._images[place] for place in places]
            other._weights, other._positions = weights, {}
        return other

    def fitting_patch(self, patch: int) -> int:
        """Return the side of the largest LR patch, at most `patch`, that the images hold.

        All of them have to hold it, or one where smaller ones are skipped.
        """
        sides: list[int] = [min(image.lr.shape[1:]) for image in self._images]
        return min(patch, min(sides) if self._on_error == "stop" else max(sides))

    def batch(
        self, step: int, batch_size: int, patch: int | Shape
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cut the patches of one step.

        Args:
            step: at least 0; the same step gives the same patches, whatever was asked before.
            batch_size: number of patches, those of all shares.
            patch: side of the LR patches in pixels, or their height and width.
        Returns:
            LR (N, 3, h, w) and HR (N, 3, scale h, scale w), float32 in [0, 1].
        Raises:
            ValueError: an image is smaller than the patch and `on_error` is stop, or all are; or
                the batch cannot be shared alike.
        """
        height, width = (patch, patch) if isinstance(patch, int) else patch
        crops = self.draw_crops(step, batch_size, patch)
        scale = self.scale
        lr = np.empty((len(crops), 3, height, width), dtype=np.float32)
        hr = np.empty((len(crops), 3, scale * height, scale * width), dtype=np.float32)

        # LR and HR are cut at the same place, and turned alike.
        for i, (index, y, x, turn) in enumerate(crops):
            image = self._images[index]
            h, w = (width, height) if turn & TRANSPOSED else (height, width)
            _write_crop(lr[i], image.lr[:, y : y + h, x : x + w], turn)
            y, x, h, w = (scale * value for value in (y, x, h, w))
            _write_crop(hr[i], image.hr[:, y : y + h, x : x + w], turn)
        return torch.from_numpy(lr), torch.from_numpy(hr)

    def draw_crops(self, step: int, batch_size: int, patch: int | Shape) -> list[Crop]:
        """Draw where the patches of one step are cut.

        Returns:
            Image, top, left and orientation of each LR patch of this store's share.
        Raises:
            ValueError: see `batch`.
        """
        shape = (patch, patch) if isinstance(patch, int) else patch
        if min(shape) < 1:
            raise ValueError(f"patch must be at least 1, got patch={_write_shape(shape)}")
        rank, size = self._share
        if batch_size % size:
            raise ValueError(f"{batch_size} patches cannot be shared alike by {size} processes")

        # All are drawn, which takes little: a batch is the same, however many share it.
        crops = list(self._draw_patches(step, batch_size, shape))
        count = batch_size // size
        return crops[rank * count : (rank + 1) * count]

    def _draw_patches(self, step: int, batch_size: int, shape: Shape) -> Iterator[Crop]:
        """Draw image, top, left and orientation of each LR patch of a step."""
        # Raw words of a counter-based generator: no NumPy version changes what they are.
        words = np.random.Philox(np.random.SeedSequence([self.seed, step])).random_raw(
            (batch_size, 3)
        )
        turn = words[:, 2] % np.uint64(8)

        # What is turned on its side is cut lying, of a patch that is no square.
        places = self._find_places(words, shape)
        if shape[0] != shape[1]:
            lying = self._find_places(words, (shape[1], shape[0]))
            places = np.where(turn & np.uint64(TRANSPOSED), lying, places)
        return zip(*places.tolist(), turn.tolist(), strict=True)

    def _find_places(self, words: npt.NDArray[np.uint64], shape: Shape) -> npt.NDArray[np.int64]:
        """Return image, top and left of patches of a shape, (3, N), for random words (N, 3)."""
        if shape not in self._positions:
            self._positions[shape] = self._list_positions(shape)
        where = self._positions[shape]

        # The first word draws the source by its share, the second a position in it ...
        source = np.searchsorted(where.shares[:-1], words[:, 0] / 2.0**64, side="right")
        within = (words[:, 1] % where.counts[source].astype(np.uint64)).astype(np.int64)
        position = where.starts[source] + within

        # ... which is looked up: in which image it lies, and where in that image.
        place = np.searchsorted(where.ends, position, side="right")
        position -= np.where(place > 0, where.ends[place - 1], 0)
        y, x = np.divmod(position, where.widths[place])
        return np.stack([where.images[place], y, x])

    def _list_positions(self, shape: Shape) -> _Positions:
        """Number every position of a patch through all images that hold it.

        Raises:
            ValueError: an image does not hold the patch and `on_error` is stop, or none does.
        """
        # Every position is as likely as any other, so a large image is drawn more often.
        sizes = np.array([image.lr.shape[1:] for image in self._images], dtype=np.int64)
        counts = np.prod(np.maximum(sizes - np.array(shape) + 1, 0), axis=1)
        self._note_small(shape, sizes, counts)

        # Images in the order of their sources, so that a source is one range of positions.
        names = [image.source for image in self._images]
        images = np.array(sorted(np.flatnonzero(counts), key=lambda i: names[i]))
        sources = sorted({names[i] for i in images})
        totals = np.array(
            [sum(counts[i] for i in images if names[i] == source) for source in sources]
        )
        shares = np.cumsum([self._weights.get(source, 1.0) for source in sources])
        return _Positions(
            images=images,
            ends=np.cumsum(counts[images]),
            widths=sizes[images, 1] - shape[1] + 1,
            starts=np.cumsum(totals) - totals,
            counts=totals,
            shares=shares / shares[-1],
        )

    def _note_small(
        self, shape: Shape, sizes: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]
    ) -> None:
        """Note which images are smaller than the patch, or stop there."""
        small = [
            f"{self._images[i].name} ({h}x{w})" for i, (h, w) in enumerate(sizes) if counts[i] == 0
        ]
        if not small:
            return

        # A few are named: that is enough to find the others.
        names = ", ".join(small[:3]) + (f" and {len(small) - 3} more" if len(small) > 3 else "")
        line = (
            f"{len(small)} image(s) have LR sides below the patch of {_write_shape(shape)}: {names}"
        )
        if self._on_error == "stop" or len(small) == len(sizes):
            raise ValueError(
                f"{line}; use smaller patches (proxy.patch, or those of the recipe), or leave "
                "them out with data.on_error=skip"
            )
        self.notices.append(f"skipped in training: {line}")

    def _open_images(
        self, images: ImageSet, memory_mib: float, cache: str | Path | None, progress: bool
    ) -> list[Decoded]:
        """Decode the images into memory, or map them from files where memory is short."""
        if images.num_bytes() <= memory_mib * 2**20:
            return list(decode_images(images, self.notices, progress=progress))

        # In files: those of an earlier run, or new ones.
        if cache is not None:
            folder = open_cache(images, Path(cache), self.notices, progress=progress)
            mapped = load_shards(folder, images)
            assert mapped is not None
            return mapped
        self._temporary = OwnedFolder()
        folder = self._temporary.path / "images"
        return write_shards(folder, images, decode_images(images, self.notices, progress=progress))


def _map_shared(folder: Path, images: ImageSet) -> list[Decoded] | None:
    """Map what another process decoded; None where it is not there, as on another host."""
    try:
        return load_shards(folder, images)
    except DamageError:  # a folder of that name that is another's
        return None


def _write_crop(out: npt.NDArray[np.float32], crop: Planes, turn: int) -> None:
    """Write a crop in one of its eight orientations as floats in [0, 1]."""
    if turn & 1:
        crop = crop[:, :, ::-1]
    if turn & 2:
        crop = crop[:, ::-1]
    if turn & TRANSPOSED:
        crop = crop.transpose(0, 2, 1)
    # In two steps: the division is twice as fast on contiguous bytes.
    np.divide(np.ascontiguousarray(crop), np.float32(255), out=out, dtype=np.float32)


def _write_shape(shape: Shape) -> str:
    """Return a shape as a message shows it: one side of a square, else height x width."""
    return str(shape[0]) if shape[0] == shape[1] else f"{shape[0]}x{shape[1]}"
