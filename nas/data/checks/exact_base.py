"""Images that bicubic upsampling gives exactly: their PSNR is infinite, and so is every mean."""

from __future__ import annotations

import torch

from nas.data.pixels.base import bicubic_base
from nas.data.pixels.bicubic import imresize
from nas.data.pixels.images import ImageError
from nas.data.sets import Pair, Pixels, crop_to_multiple

_SIDE = 48  # of a part that is looked at first, in LR pixels
_MARGIN = 12  # of it: pixels that the cut may have changed


def refuse_exact_base(pair: Pair, hr: Pixels, lr: Pixels | None, scale: int) -> None:
    """Refuse an image whose base has no error inside the border that PSNR drops.

    Args:
        hr: (H, W, 3), as it is in the file.
        lr: (h, w, 3); None: made from HR.
    Raises:
        ImageError: no pixel of the base differs.
    """
    hr = crop_to_multiple(hr, scale)
    # The middle of a photograph tells in a millisecond; a whole one of 2K takes a part of a second.
    if _differs_in_middle(hr, lr, scale):
        return
    if not _is_exact(hr, imresize(hr, scale) if lr is None else lr, scale, border=scale):
        return
    raise ImageError(
        pair.hr,
        "bicubic upsampling gives it exactly (is it of one colour?), so its PSNR is infinite and "
        "no mean can be compared",
    )


def _differs_in_middle(hr: Pixels, lr: Pixels | None, scale: int) -> bool:
    """Return whether the base certainly differs, by a part in the middle; False: unknown."""
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    if min(height, width) < _SIDE:
        return False
    top, left = (height - _SIDE) // 2, (width - _SIDE) // 2
    part = hr[scale * top : scale * (top + _SIDE), scale * left : scale * (left + _SIDE)]
    small = imresize(part, scale) if lr is None else lr[top : top + _SIDE, left : left + _SIDE]
    # At its edges the part lacks neighbours that the whole image has.
    return not _is_exact(part, small, scale, border=scale * _MARGIN)


def _is_exact(hr: Pixels, lr: Pixels, scale: int, *, border: int) -> bool:
    """Return whether the base gives HR inside a border, rounded to 8 bits as PSNR rounds it."""
    x = torch.from_numpy(lr.copy()).permute(2, 0, 1).unsqueeze(0).float() / 255
    pixels = (bicubic_base(x, scale).clamp(0, 1) * 255).round()[0].permute(1, 2, 0)
    inner = slice(border, -border)
    return bool((pixels[inner, inner] == torch.from_numpy(hr[inner, inner].copy())).all())
