"""How a folder of LR images was made: recompute them from HR and compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from nas.data.bicubic import Variant, imresize
from nas.data.images import ImageError, read_image
from nas.data.progress import each
from nas.data.sets import Pair, crop_to_multiple

# The ports differ among themselves in the last bits of their floats, which turns a few roundings by one.
_SAME_SHARE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The verdict on the LR images of one folder."""

    kind: Literal["none", "matlab", "python", "neither"]  # none: there are no LR files to judge
    num_checked: int
    share: float  # of the values (a pixel has three) that differ from MATLAB's
    largest: int  # difference, in grey levels
    problems: tuple[ImageError, ...] = ()

    def __str__(self) -> str:
        if self.kind == "none":
            return "made from HR, MATLAB bicubic"
        if self.kind == "matlab":
            return f"MATLAB bicubic, exact ({self.num_checked} checked)"
        differ = f"{self.share:.1%} of values differ from MATLAB's, by up to {self.largest}"
        name = "Python bicubic" if self.kind == "python" else "neither MATLAB nor Python bicubic"
        return f"{name} ({self.num_checked} checked: {differ})"


def find_origin(pairs: Sequence[Pair], *, scale: int, sample: int | None, progress: bool = True) -> Origin:
    """Compare the LR files with what `imresize` makes of the HR files.

    Args:
        pairs: those without an LR file are passed over.
        sample: how many to look at, evenly spread; None for all.
    """
    paired = [pair for pair in pairs if pair.lr is not None]
    if sample is not None and sample < len(paired):
        paired = [paired[i] for i in np.linspace(0, len(paired) - 1, sample).round().astype(int)]

    def compare(pair: Pair) -> dict[Variant, tuple[int, int, int]]:
        assert pair.lr is not None
        lr, hr = read_image(pair.lr), crop_to_multiple(read_image(pair.hr), scale)
        result: dict[Variant, tuple[int, int, int]] = {}
        for variant in get_args(Variant):
            difference = np.abs(imresize(hr, scale, variant=variant).astype(np.int16) - lr)
            result[variant] = int((difference > 0).sum()), difference.size, int(difference.max())
        return result

    compared = list(each(compare, paired, label="recomputing LR images", show=progress))
    good = [one for one in compared if not isinstance(one, ImageError)]
    problems = tuple(one for one in compared if isinstance(one, ImageError))
    if not good:
        return Origin(kind="none", num_checked=0, share=0.0, largest=0, problems=problems)

    share: dict[str, float] = {}
    largest: dict[str, int] = {}
    for variant in get_args(Variant):
        wrong, values, far = (
            np.array(column) for column in zip(*(one[variant] for one in good), strict=True)
        )
        share[variant], largest[variant] = float(wrong.sum() / values.sum()), int(far.max())
    kind: Literal["matlab", "python", "neither"] = "neither"
    if share["matlab"] == 0:
        kind = "matlab"
    elif share["python"] <= _SAME_SHARE and largest["python"] <= 1:
        kind = "python"
    return Origin(
        kind=kind,
        num_checked=len(good),
        share=share["matlab"],
        largest=largest["matlab"],
        problems=problems,
    )
