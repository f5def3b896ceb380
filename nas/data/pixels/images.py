"""Image files in, uint8 RGB arrays out; a file that cannot be used is refused by name."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from nas.system.files.file_names import escape_name

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
_TRANSPARENT_MODES = ("RGBA", "LA", "PA", "La", "RGBa")
_EXPANDED_MODES = ("1", "L", "P")
_ORIENTATION_TAG = 0x0112  # the EXIF tag
# What Pillow and its decoders raise on a file that is cut or garbled.
DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


class ImageError(ValueError):
    """An image file that cannot be used; `path` and `reason` say which and why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(escape_name(f"{path}: {reason}"))
        self.path = path
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Header:
    """Size in pixels as the file stores them, and the EXIF orientation, 1 (upright) to 8."""

    height: int
    width: int
    orientation: int


def read_header(path: Path) -> Header:
    """Read the header of an image file.

    The pixels are decoded only where the header leaves a doubt: the end mark is missing, or the
    image may be transparent.

    Raises:
        ImageError: the file is empty, no image, cut at its end, has 16 bits a channel, is partly
            transparent, or its colours are not RGB.
    """
    with open_image(path) as image:
        _check_depth(path, image)
        width, height = image.size
        _check_mode(path, image)
        orientation = _read_orientation(image)

        # Decoding tells: a cut file raises, and so does an alpha channel that is not opaque.
        whole = _has_end_mark(path, image.format)
        if not whole or image.mode in _TRANSPARENT_MODES or "transparency" in image.info:
            _to_rgb(path, image)
        return Header(height, width, orientation)


def read_size(path: Path) -> tuple[int, int]:
    """Read height and width in pixels from the header.

    Raises:
        ImageError: see `read_header`.
    """
    header = read_header(path)
    return header.height, header.width


def _read_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 (as stored) where the file names no valid one."""
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & set(image.info):
        return 1  # Pillow would decode the whole file to look behind its pixels
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except (*DECODER_ERRORS, KeyError, TypeError):
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Read a file as RGB, (H, W, 3).

    Grey and palette images are expanded. An alpha channel is dropped if it is opaque everywhere.
    The EXIF orientation is ignored: LR files and sizes speak of the pixels as they are stored.

    Raises:
        ImageError: see `read_header`; or the pixels cannot be decoded.
    """
    with open_image(path) as image:
        _check_depth(path, image)
        return np.array(_to_rgb(path, image), dtype=np.uint8)


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open a file, and turn what Pillow raises into one reason that a user can act on."""
    try:
        if path.stat().st_size == 0:
            raise ImageError(path, "the file is empty (0 bytes)")
        # Only the header is read here; the pixels follow when they are asked for.
        opened = Image.open(path)
    except UnidentifiedImageError:
        raise ImageError(path, f"not an image ({_describe_content(path)})") from None
    except FileNotFoundError:
        raise ImageError(path, "no such file") from None
    except ImageError:
        raise
    except DECODER_ERRORS as error:
        raise ImageError(path, f"cannot be opened: {error}") from None

    with opened:
        yield opened


def _describe_content(path: Path) -> str:
    """Say what a file that Pillow does not know seems to hold."""
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith((_PNG_SIGNATURE, b"\xff\xd8\xff")):
        return "its header is cut or garbled"
    return "it holds text" if head.isascii() and b"\0" not in head else "no known header"


def _check_depth(path: Path, image: Image.Image) -> None:
    """Refuse more than 8 bits a channel."""
    deep = image.mode.startswith(("I", "F"))

    # Pillow reads a 16-bit RGB PNG as 8 bits without a word: byte 24 of the file holds the depth.
    if image.format == "PNG":
        with path.open("rb") as file:
            header = file.read(25)
        deep = deep or (len(header) == 25 and header[24] > 8)
    if deep:
        raise ImageError(
            path,
            "more than 8 bits a channel; convert it to 8 bits (a PNG of 16 bits would lose half "
            "of them)",
        )


def _check_mode(path: Path, image: Image.Image) -> None:
    """Refuse colours that are neither RGB nor expanded to it, such as CMYK."""
    if image.mode not in ("RGB", *_EXPANDED_MODES, *_TRANSPARENT_MODES):
        raise ImageError(path, f"colour mode {image.mode} is not handled; convert it to RGB")


def _to_rgb(path: Path, image: Image.Image) -> Image.Image:
    """Decode an image to RGB; the one place where pixels are read."""
    try:
        # Networks know no transparency; an alpha that is 255 everywhere can be dropped.
        image.load()
        if image.mode in _TRANSPARENT_MODES or "transparency" in image.info:
            image = image.convert("RGBA")
            lowest = np.asarray(image.getchannel("A")).min()
            if lowest < 255:
                raise ImageError(
                    path,
                    f"partly transparent (alpha down to {lowest}); flatten it onto a background "
                    "first",
                )
            return image.convert("RGB")
    except ImageError:
        raise
    except DECODER_ERRORS as error:
        raise ImageError(path, f"cut or corrupt: {error}") from None

    # Grey and palette images have an RGB form without loss; deeper ones have not.
    if image.mode in _EXPANDED_MODES:
        return image.convert("RGB")
    _check_mode(path, image)
    return image


def _has_end_mark(path: Path, kind: str | None) -> bool:
    """Return whether the format's end mark is there: it tells cut files without decoding them."""
    if kind not in ("PNG", "JPEG"):
        return False
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 16))
        tail = file.read()
    return tail.endswith(_PNG_END) if kind == "PNG" else tail.rstrip(b"\0").endswith(b"\xff\xd9")
