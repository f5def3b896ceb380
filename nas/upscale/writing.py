"""Pictures into files, whole or not at all, in the format that the file's ending names."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nas.data.pixels.images import ImageError
from nas.system.files.drafts import replaced
from nas.upscale.deep import write_deep_png, write_tiff
from nas.upscale.picture import Picture

QUALITY = 95  # of JPEG and WebP, of 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """What a format of images can hold.

    Attributes:
        name: as Pillow calls it.
        bits: most bits a sample.
        max_side: most pixels along a side.
        options: what Pillow is told when it writes one.
    """

    name: str
    bits: int
    has_alpha: bool
    has_grey: bool
    has_profile: bool
    max_side: int
    options: tuple[tuple[str, Any], ...] = ()


PNG = Format(
    name="PNG", bits=16, has_alpha=True, has_grey=True, has_profile=True, max_side=2**31 - 1
)
TIFF = Format(
    name="TIFF", bits=16, has_alpha=True, has_grey=True, has_profile=True, max_side=2**31 - 1
)
JPEG = Format(
    name="JPEG",
    bits=8,
    has_alpha=False,
    has_grey=True,
    has_profile=True,
    max_side=65500,
    options=(("quality", QUALITY), ("subsampling", 0)),
)
WEBP = Format(
    name="WebP",
    bits=8,
    has_alpha=True,
    has_grey=False,
    has_profile=True,
    max_side=16383,
    options=(("quality", QUALITY),),
)
BMP = Format(name="BMP", bits=8, has_alpha=False, has_grey=True, has_profile=False, max_side=2**15)
FORMATS = {
    ".png": PNG,
    ".tif": TIFF,
    ".tiff": TIFF,
    ".jpg": JPEG,
    ".jpeg": JPEG,
    ".webp": WEBP,
    ".bmp": BMP,
}


def find_format(path: Path) -> Format:
    """Return the format that a file's ending names.

    Raises:
        ValueError: it names none that is written.
    """
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise ValueError(
            f"{path}: {path.suffix or 'a name without an ending'} is no format that is written; "
            f"use {', '.join(FORMATS)}"
        )
    return kind


def check_holds(path: Path, picture: Picture, scale: int) -> list[str]:
    """Check that a format holds a picture when it is upscaled, before anything is computed.

    Returns:
        What is lost, a line each.
    Raises:
        ImageError: the format has no transparency, or its sides are shorter.
    """
    kind = find_format(path)
    if picture.has_alpha and not kind.has_alpha:
        raise ImageError(path, f"{kind.name} holds no transparency; write a .png")
    if scale * max(picture.height, picture.width) > kind.max_side:
        raise ImageError(path, f"{kind.name} holds {kind.max_side} pixels a side; write a .png")

    lost = []
    if picture.bits > kind.bits:
        lost.append(f"{kind.name} holds {kind.bits} bits: the 16 bits are rounded to these")
    if picture.is_grey and not kind.has_grey:
        lost.append(f"{kind.name} knows no grey: it is written as RGB")
    if picture.profile and not kind.has_profile:
        lost.append(f"{kind.name} holds no colour profile: it is left out")
    return lost


def write_picture(path: Path, picture: Picture) -> None:
    """Write a picture, whole or not at all.

    Raises:
        UnwritableError: it cannot be written; nothing of it is there.
    """
    kind = find_format(path)
    with replaced(path) as draft:
        if kind.name == "TIFF":
            write_tiff(draft, picture)
        elif kind.bits == 16 and picture.bits == 16:
            write_deep_png(draft, picture)
        else:
            _write_shallow(draft, picture, kind)


def _write_shallow(draft: Path, picture: Picture, kind: Format) -> None:
    """Write 8 bits a sample, by Pillow."""
    pixels = picture.pixels
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)

    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if picture.is_grey and not kind.has_grey:
        image = image.convert("RGBA" if picture.has_alpha else "RGB")
    options: dict[str, Any] = dict(kind.options)
    if kind.has_profile:
        options |= {"icc_profile": picture.profile, "exif": picture.exif}
    image.save(draft, format=kind.name.upper(), **options)
