"""Image files in, uint8 RGB arrays out; what cannot be used is refused by name."""

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

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
_TRANSPARENT = ("RGBA", "LA", "PA", "La", "RGBa")
_EXPANDED = ("1", "L", "P")
_ORIENTATION = 0x0112  # the EXIF tag
# What Pillow and its decoders raise on a file that is cut or garbled.
_BROKEN = (
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
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says without being decoded: size in pixels as stored, and EXIF orientation, 1 to 8."""

    height: int
    width: int
    orientation: int


def read_header(path: Path) -> Header:
    """Read a file's header; only one whose end or transparency is in doubt is decoded.

    Raises:
        ImageError: the file is empty, no image, cut at its end, of 16 bits a channel, partly transparent, or
            of colours that are not RGB.
    """
    with _opened(path) as image:
        _check_depth(path, image)
        width, height = image.size
        _check_mode(path, image)
        orientation = _orientation(image)
        whole = _ends_well(path, image.format)
        if not whole or image.mode in _TRANSPARENT or "transparency" in image.info:
            _to_rgb(path, image)
        return Header(height, width, orientation)


def probe(path: Path) -> tuple[int, int]:
    """Give height and width in pixels from the header; raises what `read_header` does."""
    header = read_header(path)
    return header.height, header.width


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1, as stored, where a file says none or nonsense."""
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & set(image.info):
        return 1  # Pillow would decode the whole file to look behind its pixels
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except (*_BROKEN, KeyError, TypeError):
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Read a file as RGB, (H, W, 3).

    Grey and palette images are expanded, an alpha channel is dropped where it is opaque everywhere. An EXIF
    orientation is ignored: LR files and sizes speak of the pixels as they are stored.

    Raises:
        ImageError: see `probe`; also an image whose pixels cannot be decoded.
    """
    with _opened(path) as image:
        _check_depth(path, image)
        return np.array(_to_rgb(path, image), dtype=np.uint8)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        if path.stat().st_size == 0:
            raise ImageError(path, "the file is empty (0 bytes)")
        opened = Image.open(path)
    except UnidentifiedImageError:
        raise ImageError(path, f"not an image ({_what_it_is(path)})") from None
    except FileNotFoundError:
        raise ImageError(path, "no such file") from None
    except ImageError:
        raise
    except _BROKEN as error:
        raise ImageError(path, f"cannot be opened: {error}") from None
    with opened:
        yield opened


def _what_it_is(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith((_PNG_SIGNATURE, b"\xff\xd8\xff")):
        return "its header is cut or garbled"
    return "it holds text" if head.isascii() and b"\0" not in head else "no known header"


def _check_depth(path: Path, image: Image.Image) -> None:
    """Refuse more than 8 bits a channel; Pillow reads 16-bit RGB PNG as 8 bits without a word."""
    deep = image.mode.startswith(("I", "F"))
    if image.format == "PNG":
        with path.open("rb") as file:
            header = file.read(25)
        deep = deep or (len(header) == 25 and header[24] > 8)
    if deep:
        raise ImageError(
            path,
            "more than 8 bits a channel; convert it to 8 bits (a PNG of 16 bits would lose half of them)",
        )


def _check_mode(path: Path, image: Image.Image) -> None:
    """Refuse colours that are not RGB or expanded to it, such as CMYK."""
    if image.mode not in ("RGB", *_EXPANDED, *_TRANSPARENT):
        raise ImageError(path, f"colour mode {image.mode} is not handled; convert it to RGB")


def _to_rgb(path: Path, image: Image.Image) -> Image.Image:
    """Decode; the one place where pixels are read."""
    try:
        image.load()
        if image.mode in _TRANSPARENT or "transparency" in image.info:
            image = image.convert("RGBA")
            lowest = np.asarray(image.getchannel("A")).min()
            if lowest < 255:
                raise ImageError(
                    path,
                    f"partly transparent (alpha down to {lowest}); flatten it onto a background first",
                )
            return image.convert("RGB")
    except ImageError:
        raise
    except _BROKEN as error:
        raise ImageError(path, f"cut or corrupt: {error}") from None
    if image.mode in _EXPANDED:
        return image.convert("RGB")
    _check_mode(path, image)
    return image


def _ends_well(path: Path, kind: str | None) -> bool:
    """Whether the end mark of the format is there: it finds cut files without decoding them."""
    if kind not in ("PNG", "JPEG"):
        return False
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 16))
        tail = file.read()
    return tail.endswith(_PNG_END) if kind == "PNG" else tail.rstrip(b"\0").endswith(b"\xff\xd9")
