"""Image files in, pictures out: nothing of a file is lost without a word, or it is refused."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from nas.data.pixels.images import DECODER_ERRORS, ImageError, open_image
from nas.data.pixels.orientation import orientations
from nas.upscale.deep import CheckSize, is_deep_png, is_tiff, read_deep_png, read_tiff
from nas.upscale.picture import Picture, Samples

# Others are not opened: some decoders of Pillow run programs.
FORMATS = ("PNG", "JPEG", "MPO", "TIFF", "BMP", "WEBP", "GIF")
ORIENTATION = 0x0112  # the EXIF tag
# What a mode of Pillow's is read as; "transparency" beside it adds an alpha channel.
READ_AS = {
    **{"1": "L", "L": "L", "LA": "LA", "La": "LA"},
    **{"P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBA": "RGBA", "RGBa": "RGBA"},
}


def read_picture(path: Path, check_size: CheckSize) -> Picture:
    """Read a file as an upright picture, in the bits that it has.

    One-bit images become grey, palettes become RGB, and a transparent colour an alpha channel.

    Args:
        check_size: called with height, width and bytes a pixel as the header says, before the
            pixels are decoded.
    Raises:
        ImageError: the file is no image, cut or corrupt, holds several frames or pages, or its
            colours are neither grey nor RGB.
        ValueError: the size is refused.
    """
    # Pillow knows some TIFFs of 16 bits as 8 bits, and others not at all.
    if is_tiff(path):
        deep = read_tiff(path, check_size)
        if deep is not None:
            return _turn_upright(*deep, exif=None)

    # The size is checked here, by what there is of memory, not by Pillow's own limit.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with open_image(path) as image:
            if image.format not in FORMATS:
                raise ImageError(path, f"{image.format} is not read; use {', '.join(FORMATS)}")
            # What Pillow reads as 8 bits may have 16 in a PNG; a palette becomes RGB.
            num_bytes = len(image.getbands()) * (2 if image.format == "PNG" else 1)
            num_bytes = {"1": 1, "P": 3}.get(image.mode, num_bytes)
            check_size(image.height, image.width, num_bytes)
            return _read_opened(path, image)


def _read_opened(path: Path, image: Image.Image) -> Picture:
    """Read an image whose header was read and found fit."""
    # A camera's MPO holds a preview behind the photograph, which comes first; pages were counted.
    if image.format not in ("MPO", "TIFF") and (num_frames := getattr(image, "n_frames", 1)) > 1:
        raise ImageError(
            path, f"it is animated, {num_frames} frames; save each as a file of its own"
        )

    if image.format == "PNG" and is_deep_png(path):
        # Of the file's metadata what stands before the pixels: Pillow need not decode these.
        pixels, exif = read_deep_png(path), _load_exif(image.info.get("exif", b""))
    else:
        pixels, exif = _decode(path, image), _read_exif(image)
    profile = image.info.get("icc_profile")
    return _turn_upright(pixels, profile, _read_orientation(exif), exif)


def _decode(path: Path, image: Image.Image) -> Samples:
    """Decode (H, W, C) of 8 bits."""
    if image.mode not in READ_AS:
        reason = f"colour mode {image.mode} is not handled; convert it to RGB or grey"
        if image.mode.startswith(("I", "F")):
            reason = f"samples of mode {image.mode} are not handled; use 8 or 16 bits a sample"
        raise ImageError(path, reason)

    try:
        image.load()
        mode = READ_AS[image.mode]
        if "transparency" in image.info and not mode.endswith("A"):
            mode += "A"
        pixels = np.asarray(image.convert("RGBA" if mode == "RGBA" else mode))
    except DECODER_ERRORS as error:
        raise ImageError(path, f"cut or corrupt: {error}") from None
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _turn_upright(
    pixels: Samples, profile: bytes | None, orientation: int, exif: Image.Exif | None
) -> Picture:
    """Return the picture as viewers show it; not every format and viewer knows the EXIF tag."""
    upright = np.ascontiguousarray(orientations(pixels)[orientation - 1])
    data = b""
    if exif:
        exif[ORIENTATION] = 1
        try:
            data = exif.tobytes()
        except (*DECODER_ERRORS, KeyError, TypeError, AttributeError):
            data = b""  # written by a program that garbles it: no picture is refused for that
    return Picture(pixels=upright, profile=profile, exif=data)


def _load_exif(data: bytes) -> Image.Exif:
    exif = Image.Exif()
    try:
        exif.load(data)
    except (*DECODER_ERRORS, KeyError, TypeError):
        return Image.Exif()
    return exif


def _read_exif(image: Image.Image) -> Image.Exif:
    try:
        return image.getexif()
    except (*DECODER_ERRORS, KeyError, TypeError):
        return Image.Exif()


def _read_orientation(exif: Image.Exif) -> int:
    """Return the orientation, 1 to 8; 1 where no valid one is named."""
    orientation = exif.get(ORIENTATION, 1)
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
