"""A set of images for one role: which files, and each as an LR and an HR array."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from nas.data.digests import digest_file, digest_files
from nas.data.pixels.bicubic import imresize
from nas.data.pixels.images import ImageError, read_image

OnError = Literal["stop", "skip"]
Pixels = npt.NDArray[np.uint8]

# Begins every fingerprint. Those of the first version knew names and sizes of files, not bytes.
FINGERPRINT_VERSION = "2-"
MAKE_LR = "data.lr=none makes LR images from HR"  # the way out where LR files do not fit


@dataclass(frozen=True, slots=True)
class Pair:
    """One image; without an LR file the LR image is made from the HR one by `imresize`.

    Attributes:
        name: the file's, without its ending, as text that UTF-8 can hold.
        made: recipe of an image that is made on this machine: in fingerprints it stands for the
            bytes, of which another machine may round some otherwise. Empty: a file as any other.
    """

    name: str
    hr: Path
    lr: Path | None = None
    source: str = ""  # whose weight it shares in a mixture
    size: tuple[int, int] = (0, 0)  # height and width of the HR file, in pixels
    made: str = ""

    @property
    def files(self) -> list[Path]:
        """The HR file, and the LR file where there is one."""
        return [self.hr, self.lr] if self.lr is not None else [self.hr]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """The images of one role in a fixed order.

    Attributes:
        weights: how often a source is drawn, by its name; 1 where it is not named.
        digests: of the bytes of files, as they were when the set was opened; of a file that is not
            among them nobody has read any yet.
    """

    name: str
    pairs: tuple[Pair, ...]
    scale: int
    weights: tuple[tuple[str, float], ...] = ()
    on_error: OnError = "stop"
    digests: Mapping[Path, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pairs)

    def load(self, i: int) -> tuple[Pixels, Pixels]:
        """Read LR (h, w, 3) and HR (scale h, scale w, 3), the HR cropped at right and bottom.

        Raises:
            ImageError: a file cannot be read, is not the one that was opened, or the two sizes do
                not belong together.
        """
        pair = self.pairs[i]
        for file in pair.files:
            self._check_unchanged(file)
        hr = crop_to_multiple(read_image(pair.hr), self.scale)
        if pair.lr is None:
            return imresize(hr, self.scale), hr
        lr = read_image(pair.lr)
        check_sizes(pair.lr, lr.shape[:2], hr.shape[:2], self.scale)
        return lr, hr

    def with_digests(self, *, progress: bool = True) -> ImageSet:
        """Return the set with the digests of its files: images that change are refused from now.

        Args:
            progress: whether a bar may be shown.
        Raises:
            ImageError: a file cannot be read.
        """
        files = [file for pair in self.pairs for file in pair.files]
        label = f"fingerprinting {self.name} images"
        return replace(self, digests=digest_files(files, label=label, progress=progress))

    @property
    def fingerprint(self) -> str:
        """Return a short hash of names, bytes of files and settings.

        A resumed run tells by it that data changed. Folders do not enter: the same data elsewhere
        is the same data.
        """
        digests = self._read_digests()
        files = [
            (pair.source, pair.name, pair.made or hr, lr)
            for pair, (hr, lr) in zip(self.pairs, digests, strict=True)
        ]
        return FINGERPRINT_VERSION + _hash_short([self.name, self.scale, self.weights, files])

    @property
    def content_key(self) -> str:
        """Return a short hash of all that the decoded images follow from, in their order."""
        names = [(pair.source, pair.name) for pair in self.pairs]
        return _hash_short([self.scale, names, self._read_digests()])

    def _read_digests(self) -> list[tuple[str, str]]:
        """Return the digests of each pair's HR and LR file; of no file the empty text."""
        known = all(file in self.digests for pair in self.pairs for file in pair.files)
        by_file = self.digests if known else self.with_digests(progress=False).digests
        return [(by_file[pair.hr], by_file[pair.lr] if pair.lr else "") for pair in self.pairs]

    def _check_unchanged(self, file: Path) -> None:
        """Refuse a file that is not the one of which the digest was taken.

        Raises:
            ImageError: it is not, or cannot be read.
        """
        if file in self.digests and digest_file(file) != self.digests[file]:
            raise ImageError(
                file, "its bytes changed after it was opened; bring the earlier file back"
            )

    def num_bytes(self) -> int:
        """Return the memory of all images as uint8, LR and HR, in bytes."""
        hr = sum(
            3 * (h - h % self.scale) * (w - w % self.scale)
            for h, w in (pair.size for pair in self.pairs)
        )
        return hr + hr // self.scale**2


def _hash_short(values: object) -> str:
    text = json.dumps(values, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def crop_to_multiple(image: Pixels, scale: int) -> Pixels:
    """Cut rows at the bottom and columns at the right until both are multiples of the scale."""
    height, width = image.shape[:2]
    return image[: height - height % scale, : width - width % scale]


def check_sizes(lr_path: Path, lr: tuple[int, ...], hr: tuple[int, ...], scale: int) -> None:
    """Refuse an LR image that is not the HR image's size divided by the scale, rounded down."""
    expected = (hr[0] // scale, hr[1] // scale)
    if 0 in expected:
        raise ImageError(
            lr_path, f"its HR image, {hr[0]}x{hr[1]}, is smaller than one LR pixel at scale {scale}"
        )

    if tuple(lr) != expected:
        raise ImageError(
            lr_path,
            f"LR is {lr[0]}x{lr[1]} (height x width), HR {hr[0]}x{hr[1]}, which at scale {scale} "
            f"needs {expected[0]}x{expected[1]}; {MAKE_LR}",
        )
