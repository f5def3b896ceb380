"""Pictures of 16 bits a sample in PNG and TIFF, which Pillow reads as 8 bits without a word."""

import logging
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import png
import tifffile

from nas.data.pixels.images import ImageError
from nas.upscale.picture import Picture, Samples, SizeError

CheckSize = Callable[[int, int, int], None]  # height, width, bytes a pixel; raises ValueError
TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
BAND = 256  # rows that are compressed at a time
EXIF_HEAD = b"Exif\0\0"  # stands before the data in a JPEG, not in a PNG
ORIENTATION, PROFILE = 274, 34675  # tags of TIFF
MINISWHITE, MINISBLACK, RGB = 0, 1, 2  # kinds of colours in TIFF
ASSOCIATED = 1  # alpha that is multiplied into the colours
# What garbled tags and missing decoders end in.
TIFF_ERRORS = (
    *(tifffile.TiffFileError, zlib.error, OSError, ValueError, RuntimeError),
    *(KeyError, IndexError, TypeError, AttributeError),
)


def is_tiff(path: Path) -> bool:
    """Return whether a file is a TIFF, of either size and order of bytes."""
    try:
        with path.open("rb") as file:
            return file.read(4) in TIFF_HEADS
    except OSError:  # whoever opens it next says so
        return False


def is_deep_png(path: Path) -> bool:
    """Return whether a PNG has 16 bits a sample: byte 24 of the file says."""
    with path.open("rb") as file:
        header = file.read(25)
    return len(header) == 25 and header[24] == 16


def read_deep_png(path: Path) -> Samples:
    """Read (H, W, C) of uint16.

    Raises:
        ImageError: the file is cut or corrupt.
    """
    try:
        with path.open("rb") as file:
            width, height, rows, info = png.Reader(file=file).read()
            pixels = np.empty((height, width * info["planes"]), np.uint16)
            for place, row in enumerate(rows):
                pixels[place] = row
    # A cut stream ends in too few rows, or in an error of whichever step meets the end.
    except (png.Error, zlib.error, ValueError, IndexError, EOFError, StopIteration) as error:
        raise ImageError(path, f"cut or corrupt: {error}") from None
    if place != height - 1:
        raise ImageError(path, f"cut: {place + 1} of {height} rows are there")

    pixels = pixels.reshape(height, width, info["planes"])
    if info.get("transparent") is None:
        return pixels
    # One colour is transparent: that becomes an alpha channel.
    opaque = (pixels != np.asarray(info["transparent"], np.uint16)).any(2, keepdims=True)
    return np.concatenate([pixels, opaque * np.uint16(65535)], 2)


def read_tiff(path: Path, check_size: CheckSize) -> tuple[Samples, bytes | None, int] | None:
    """Read a TIFF of 16 bits a sample.

    Args:
        check_size: called with height, width and bytes a pixel before these are decoded.
    Returns:
        (H, W, C) of uint16 as stored, the ICC profile, and the orientation, 1 to 8.
        None: its samples have another depth.
    Raises:
        ImageError: it is cut or corrupt, holds several pages, or its colours are not handled.
    """
    try:
        with _silencing_log(), tifffile.TiffFile(path) as file:
            pages: Any = file.pages
            # Small previews stand beside the picture in many files.
            num_pages = sum(not page.is_reduced for page in pages)
            if num_pages > 1:
                raise ImageError(
                    path, f"it holds {num_pages} pages; save each as a file of its own"
                )
            page = pages[0]
            if page.dtype != np.uint16:
                return None
            check_size(page.imagelength, page.imagewidth, 2 * page.samplesperpixel)
            pixels = _arrange(path, page)
            values = {
                tag.code: tag.value for tag in page.tags if tag.code in (PROFILE, ORIENTATION)
            }
    except ImageError:
        raise
    except TIFF_ERRORS as error:
        if isinstance(error, SizeError):
            raise
        raise ImageError(path, f"cut, corrupt or not handled: {error}") from None

    turn, profile = values.get(ORIENTATION, 1), values.get(PROFILE)
    return pixels, bytes(profile) if profile else None, int(turn) if turn in range(1, 9) else 1


@contextmanager
def _silencing_log() -> Iterator[None]:
    """Keep tifffile's remarks on odd tags from standard error: a refusal is one line."""
    log: logging.Logger = tifffile.logger()
    before = log.disabled
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = before


def _arrange(path: Path, page: Any) -> Samples:
    """Return the samples of a page as (H, W, C), alpha last.

    Raises:
        ImageError: its colours are neither grey nor RGB, or its alpha is multiplied into them.
    """
    num_colours = {MINISWHITE: 1, MINISBLACK: 1, RGB: 3}.get(int(page.photometric))
    extra = page.samplesperpixel - (num_colours or 0)
    if num_colours is None or extra not in (0, 1):
        raise ImageError(
            path,
            f"{page.samplesperpixel} samples a pixel, {page.photometric.name}, are not handled; "
            "convert it to RGB or grey",
        )
    if extra and ASSOCIATED in tuple(page.extrasamples):
        raise ImageError(
            path, "its alpha is multiplied into the colours; save it as straight alpha"
        )

    pixels = page.asarray()
    if page.axes == "SYX":  # a plane for each colour
        pixels = pixels.transpose(1, 2, 0)
    pixels = pixels.reshape(page.imagelength, page.imagewidth, page.samplesperpixel)
    if int(page.photometric) == MINISWHITE:
        pixels = np.concatenate([65535 - pixels[..., :1], pixels[..., 1:]], 2)
    return np.asarray(pixels, np.uint16)


def write_deep_png(path: Path, picture: Picture) -> None:
    """Write a PNG of 16 bits a sample."""
    with path.open("wb") as file:
        png.write_chunks(file, _list_chunks(picture))


def write_tiff(path: Path, picture: Picture) -> None:
    """Write a TIFF of 8 or 16 bits a sample, compressed as every reader takes it."""
    pixels = picture.pixels[..., 0] if picture.pixels.shape[2] == 1 else picture.pixels
    tifffile.imwrite(
        path,
        pixels,
        photometric="minisblack" if picture.is_grey else "rgb",
        planarconfig="contig" if pixels.ndim == 3 else None,
        extrasamples=["unassalpha"] if picture.has_alpha else None,
        compression="zlib",
        predictor=True,
        iccprofile=picture.profile,
        metadata=None,
        software=False,
    )


def _list_chunks(picture: Picture) -> Iterator[tuple[bytes, bytes]]:
    """Yield the chunks of a PNG of 16 bits: header, profile, EXIF data, pixels, end."""
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[picture.pixels.shape[2]]  # PNG's number for each
    sides = picture.width.to_bytes(4, "big") + picture.height.to_bytes(4, "big")
    yield b"IHDR", sides + bytes([16, kind, 0, 0, 0])
    if picture.profile:
        yield b"iCCP", b"ICC profile\0\0" + zlib.compress(picture.profile)
    if picture.exif:
        yield b"eXIf", picture.exif.removeprefix(EXIF_HEAD)

    # Each row as its difference to the row above (filter 2), which compresses well.
    packer = zlib.compressobj()
    above = np.zeros((1, picture.width * picture.pixels.shape[2] * 2), np.uint8)
    for start in range(0, picture.height, BAND):
        band = np.ascontiguousarray(picture.pixels[start : start + BAND], np.dtype(">u2"))
        rows = band.view(np.uint8).reshape(len(band), -1)
        before = np.concatenate([above, rows[:-1]])
        filtered = np.concatenate([np.full((len(rows), 1), 2, np.uint8), rows - before], 1)
        above = rows[-1:]
        yield b"IDAT", packer.compress(filtered.tobytes())
    yield b"IDAT", packer.flush()
    yield b"IEND", b""
