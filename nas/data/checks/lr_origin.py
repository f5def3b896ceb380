"""How the LR images of a folder were made: they are recomputed from HR and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from nas.data.folders.folder_names import shorten
from nas.data.pixels.bicubic import Variant, imresize
from nas.data.pixels.images import ImageError, read_image
from nas.data.pixels.orientation import find_turn, turn_in_words
from nas.data.progress import each
from nas.data.sets import MAKE_LR, Pair, Pixels, crop_to_multiple

Kind = Literal["none", "matlab", "python", "neither"]

# The ports differ among themselves in the last bits of their floats, which turns a few roundings by
# one.
_SAME_SHARE = 1e-3
_LEAST_SHOWN = 5e-4  # what would read 0.0% is counted instead
_LEAST_DB = 15.0  # blur, noise and other resizers stay above it; two scenes have some 10 dB
_LEAST_LIKENESS = 0.5  # correlation; two scenes seldom have more, one scene in other colours has
_BLOCK = 4  # pixels a side that are averaged first, so that strong noise is no other scene
# What a start may look at: all of Set14, half of BSD100, six images of DIV2K; one or two seconds on
# one core.
_MAX_PIXELS = 8_000_000
_MIN_IMAGES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The verdict on the LR images of one folder.

    Attributes:
        kind: none: there are no LR files, the images are made from HR.
        num_checked: images that were recomputed, of `num_images`.
        share: of the values (a pixel has three) that differ from MATLAB's, `num_differ` of them.
        largest: difference, in grey levels.
        problems: images that cannot be compared, or show their scene turned.
    """

    kind: Kind
    num_checked: int
    share: float
    largest: int
    problems: tuple[ImageError, ...] = ()
    num_images: int = 0
    num_differ: int = 0

    def __str__(self) -> str:
        if self.kind == "none":
            return "made from HR, MATLAB bicubic"
        checked = f"{self.num_checked} of {self.num_images} checked"
        if self.kind == "matlab":
            return f"MATLAB bicubic, exact ({checked})"
        name = "not MATLAB bicubic" + (", but Python bicubic" if self.kind == "python" else "")
        if self.num_differ == 1:
            return f"{name}: 1 value differs, by {self.largest} ({checked})"
        # A share that would print as 0.0% is given as a count.
        many = self.num_differ if self.share < _LEAST_SHOWN else f"{self.share:.1%} of"
        return f"{name}: {many} values differ, by up to {self.largest} ({checked})"


@dataclass(frozen=True, slots=True)
class _Comparison:
    """The values of one LR image that differ from each variant's.

    Attributes:
        matlab, python: how many differ, of how many, and by how much at most.
    """

    matlab: tuple[int, int, int]
    python: tuple[int, int, int]


def find_origin(
    pairs: Sequence[Pair], *, scale: int, sample: int | Literal["few"] | None, progress: bool = True
) -> Origin:
    """Compare the LR files with what `imresize` makes of the HR files.

    Args:
        pairs: those without an LR file are passed over.
        sample: how many to look at, evenly spread; None for all, "few" for all of a small set and
            as many of a large one as a start has time for.
    """
    # A sample, evenly spread, where all would take too long.
    paired = [pair for pair in pairs if pair.lr is not None]
    count = len(paired) if sample is None else sample
    if count == "few":
        count = _count_affordable(paired)
    chosen = paired
    if count < len(paired):
        chosen = [paired[i] for i in np.linspace(0, len(paired) - 1, count).round().astype(int)]

    def compare(pair: Pair) -> _Comparison:
        return _compare_pair(pair, scale)

    # A file that cannot be read tells nothing of the others, which are compared all the same.
    compared = list(each(compare, chosen, label="recomputing LR images", show=progress))
    good = [result for result in compared if not isinstance(result, ImageError)]
    problems = tuple(result for result in compared if isinstance(result, ImageError))
    if not good:
        return Origin(kind="none", num_checked=0, share=0.0, largest=0, problems=problems)

    # MATLAB's must be equal to the last bit; a port rounds otherwise here and there.
    share, largest = _sum_up([comparison.matlab for comparison in good])
    python_share, python_largest = _sum_up([comparison.python for comparison in good])
    kind: Kind = "neither"
    if share == 0:
        kind = "matlab"
    elif python_share <= _SAME_SHARE and python_largest <= 1:
        kind = "python"
    return Origin(
        kind=kind,
        num_checked=len(good),
        share=share,
        largest=largest,
        problems=problems,
        num_images=len(paired),
        num_differ=sum(comparison.matlab[0] for comparison in good),
    )


def say_origins(origins: Sequence[Origin]) -> str:
    """Say how the LR images of a role were made, those of several folders one after the other."""
    return "; ".join(dict.fromkeys(map(str, origins)))


def _count_affordable(pairs: Sequence[Pair]) -> int:
    """Return how many pairs a start has time to compare."""
    pixels = sum(height * width for height, width in (pair.size for pair in pairs))
    if pixels <= _MAX_PIXELS:
        return len(pairs)
    return max(_MIN_IMAGES, len(pairs) * _MAX_PIXELS // pixels)


def _compare_pair(pair: Pair, scale: int) -> _Comparison:
    """Recompute one LR image and compare it.

    Raises:
        ImageError: a file cannot be read, or HR and LR show the scene in different orientations or
            two different scenes.
    """
    assert pair.lr is not None
    lr, stored = read_image(pair.lr), read_image(pair.hr)
    hr = crop_to_multiple(stored, scale)

    # An exact MATLAB image needs no further look.
    counts: dict[str, tuple[int, int, int]] = {}
    variants: tuple[Variant, ...] = ("matlab", "python")
    for variant in variants:
        difference = np.abs(imresize(hr, scale, variant=variant).astype(np.int16) - lr)
        counts[variant] = int((difference > 0).sum()), difference.size, int(difference.max())
        if variant == "matlab" and not counts["matlab"][0]:
            return _Comparison(counts["matlab"], counts["matlab"])

    # Larger differences: the image may be turned, or show another scene.
    turn = None
    if min(counts[variant][2] for variant in variants) > 1:
        turn = find_turn(stored, lr, scale)
    if turn is not None:
        raise ImageError(pair.hr, turn_in_words(turn, pair.lr))
    psnr, likeness = _compare_coarsely(imresize(hr, scale), lr)
    if psnr < _LEAST_DB and likeness < _LEAST_LIKENESS:
        raise ImageError(
            pair.lr,
            f"it is no LR image of {shorten(Path(pair.hr.name))}: {psnr:.1f} dB to the one made "
            f"from it, as another scene has; {MAKE_LR}",
        )
    return _Comparison(counts["matlab"], counts["python"])


def _compare_coarsely(first: Pixels, second: Pixels) -> tuple[float, float]:
    """Compare two images (h, w, 3) after averaging blocks of pixels.

    Returns:
        PSNR in dB, and the correlation of their grey: with colours in another order or another
        brightness it stays high where PSNR is low.
    """
    height, width = first.shape[:2]
    # Means of blocks forgive another kernel; they do not forgive another picture.
    block = min(_BLOCK, height, width)
    rows, columns = height // block, width // block
    cut = np.stack([first, second]).astype(np.float64)[:, : rows * block, : columns * block]
    coarse_first, coarse_second = cut.reshape(2, rows, block, columns, block, -1).mean((2, 4))

    psnr = 10 * np.log10(255**2 / max(np.square(coarse_first - coarse_second).mean(), 1e-9))
    grey = [coarse.mean(-1).ravel() - coarse.mean() for coarse in (coarse_first, coarse_second)]
    # A flat image has no pattern to agree with.
    norms = np.linalg.norm(grey[0]) * np.linalg.norm(grey[1])
    return float(psnr), float(grey[0] @ grey[1] / norms) if norms else 0.0


def _sum_up(counts: Sequence[tuple[int, int, int]]) -> tuple[float, int]:
    """Return the share of values that differ, and the largest difference."""
    differ, values, largest = zip(*counts, strict=True)
    return sum(differ) / sum(values), max(largest)
