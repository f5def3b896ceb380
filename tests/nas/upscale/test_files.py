# ruff: noqa: E501 - one case a line
"""Files in and out: kinds of pixels, what is kept, what is refused."""

import io
import struct
import zlib

import numpy as np
import png
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps

from nas.data.pixels.images import ImageError
from nas.upscale.picture import Picture
from nas.upscale.reading import read_picture
from nas.upscale.writing import FORMATS, check_holds, write_picture

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (12, 20, 3), dtype=np.uint16)
DEEP_ALPHA = RNG.integers(0, 65536, (12, 20, 4), dtype=np.uint16)


def read(path):
    return read_picture(path, lambda height, width, num_bytes: None)


def decode(path, turn=False):
    """Return the pixels as Pillow reads them, or as viewers show them."""
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image) if turn else image)


def save_png(path, pixels, **options):
    """Write a PNG of 16 bits with pypng itself."""
    channels = pixels.shape[2]
    writer = png.Writer(
        pixels.shape[1], pixels.shape[0], greyscale=channels < 3, alpha=channels in (2, 4),
        bitdepth=16, **options,
    )  # fmt: skip
    with path.open("wb") as file:
        writer.write(file, pixels.reshape(len(pixels), -1))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("bits", [8, 16])
def test_pixels_and_profile_come_back_equal(channels, ending, bits, tmp_path):
    pixels = (
        DEEP_ALPHA[..., :channels]
        if bits == 16
        else (DEEP_ALPHA[..., :channels] >> 8).astype(np.uint8)
    )
    path = tmp_path / f"a{ending}"
    write_picture(path, Picture(pixels=pixels, profile=SRGB))
    picture = read(path)
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert (picture.pixels.dtype, picture.profile) == (pixels.dtype, SRGB)
    assert picture.is_grey == (channels < 3)
    # Another program reads the same: Pillow for 8 bits, pypng and tifffile for 16.
    if ending == ".tif":
        np.testing.assert_array_equal(np.squeeze(tifffile.imread(path)), np.squeeze(pixels))
    elif bits == 16:
        with path.open("rb") as file:
            rows = np.vstack(list(png.Reader(file=file).read()[2]))
        np.testing.assert_array_equal(rows.reshape(pixels.shape), pixels)
    else:
        np.testing.assert_array_equal(decode(path), np.squeeze(pixels))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("interlace", [False, True])
def test_png_of_16_bits_by_another_program_is_read(channels, interlace, tmp_path):
    save_png(tmp_path / "a.png", DEEP_ALPHA[..., :channels], interlace=interlace)
    np.testing.assert_array_equal(read(tmp_path / "a.png").pixels, DEEP_ALPHA[..., :channels])


@pytest.mark.parametrize("options", [
    {"photometric": "rgb"}, {"photometric": "rgb", "planarconfig": "separate"},
    {"photometric": "rgb", "tile": (16, 16)},
    {"photometric": "rgb", "compression": "zlib", "predictor": True},
    {"photometric": "rgb", "byteorder": ">"},
])  # fmt: skip
def test_tiff_of_16_bits_in_every_layout_is_read(options, tmp_path):
    planes = DEEP.transpose(2, 0, 1) if options.get("planarconfig") == "separate" else DEEP
    tifffile.imwrite(tmp_path / "a.tif", planes, **options)
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, DEEP)


def test_tiff_whose_white_is_zero_is_turned_round(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", DEEP[..., 0], photometric="miniswhite")
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels[..., 0], 65535 - DEEP[..., 0])


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1", "PA"])
def test_every_usual_mode_is_read_without_loss(mode, tmp_path):
    image = Image.fromarray(RGB).convert("RGBA" if mode == "PA" else mode)
    image = image.convert("PA") if mode == "PA" else image
    image.save(tmp_path / ("a.tif" if mode == "PA" else "a.png"))
    picture = read(next(tmp_path.iterdir()))
    expected = {"1": "L", "P": "RGB", "PA": "RGBA"}.get(mode, mode)
    np.testing.assert_array_equal(np.squeeze(picture.pixels), np.asarray(image.convert(expected)))


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_a_transparent_colour_becomes_alpha(mode, tmp_path):
    image = Image.fromarray(np.arange(16, 32, dtype=np.uint8).reshape(4, 4)).convert(mode)
    image.putpixel((1, 2), 7 if mode != "RGB" else (7, 8, 9))
    image.save(tmp_path / "a.png", transparency=7 if mode != "RGB" else (7, 8, 9))
    picture = read(tmp_path / "a.png")
    assert picture.has_alpha
    assert picture.pixels[2, 1, -1] == 0
    assert picture.pixels[..., -1].sum() == 15 * 255


def test_a_transparent_colour_of_16_bits_becomes_alpha(tmp_path):
    save_png(tmp_path / "a.png", DEEP, transparent=tuple(map(int, DEEP[3, 4])))
    picture = read(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.pixels[..., :3], DEEP)
    assert picture.pixels[3, 4, 3] == 0
    assert (picture.pixels[..., 3] == 65535).sum() == 12 * 20 - 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp"])
def test_photographs_are_turned_upright_and_keep_their_exif(orientation, ending, tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    smooth = np.linspace(0, 255, 12 * 20).reshape(12, 20).astype(np.uint8)
    Image.fromarray(smooth).convert("RGB").save(tmp_path / f"a{ending}", exif=exif, quality=100)
    picture = read(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(picture.pixels, decode(tmp_path / f"a{ending}", turn=True))
    write_picture(tmp_path / f"b{ending}", picture)
    with Image.open(tmp_path / f"b{ending}") as image:
        written = image.getexif()
        assert (written[0x0112], written[0x010F]) == (1, "Maker")


def test_orientation_of_a_tiff_of_16_bits_is_kept(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", DEEP, photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, np.rot90(DEEP, -1))


def test_sixteen_bits_are_rounded_for_formats_of_eight(tmp_path):
    picture = Picture(pixels=DEEP)
    for ending in (".jpg", ".webp", ".bmp"):
        (line,) = check_holds(tmp_path / f"a{ending}", picture, 4)
        assert "holds 8 bits" in line
    write_picture(tmp_path / "a.bmp", picture)
    np.testing.assert_array_equal(
        read(tmp_path / "a.bmp").pixels, np.round(DEEP / 257).astype(np.uint8)
    )


@pytest.mark.parametrize(
    "ending", [ending for ending, kind in FORMATS.items() if not kind.has_alpha]
)
def test_what_cannot_hold_alpha_is_refused(ending, tmp_path):
    with pytest.raises(ImageError, match=r"holds no transparency; write a \.png"):
        check_holds(tmp_path / f"a{ending}", Picture(pixels=DEEP_ALPHA), 4)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def make_bad(name, folder):
    """Write a file of some kind that is refused; return its path."""
    path = folder / name
    buffer = io.BytesIO()
    match name:
        case "cmyk.jpg":
            Image.fromarray(RGB).convert("CMYK").save(path)
        case "cmyk.tif":
            tifffile.imwrite(path, DEEP_ALPHA, photometric="separated")
        case "cut.png" | "cut.jpg" | "cut.webp":
            Image.fromarray(RGB).save(
                buffer, format={"cut.jpg": "JPEG"}.get(name, name[4:].upper())
            )
            path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) * 2 // 3])
        case "cut16.png":
            save_png(path, DEEP)
            path.write_bytes(path.read_bytes()[:-400])
        case "cut16.tif":
            tifffile.imwrite(path, DEEP, photometric="rgb")
            path.write_bytes(path.read_bytes()[:-400])
        case "animated.png" | "animated.gif" | "animated.webp":
            other = Image.fromarray(255 - RGB)
            Image.fromarray(RGB).save(path, save_all=True, append_images=[other])
        case "pages.tif":
            tifffile.imwrite(path, np.stack([DEEP, DEEP]), photometric="rgb")
        case "pages8.tif":
            Image.fromarray(RGB).save(path, save_all=True, append_images=[Image.fromarray(RGB)])
        case "float.tif":
            tifffile.imwrite(path, RGB.astype(np.float32), photometric="rgb")
        case "bomb.png":
            head = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
            data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000)))
            path.write_bytes(b"\x89PNG\r\n\x1a\n" + data + chunk(b"IEND", b""))
        case "text.png":
            path.write_text("no image")
        case "empty.png":
            path.touch()
        case "page.eps":
            Image.fromarray(RGB).save(path)
    return path


BAD = {
    "cmyk.jpg": "colour mode CMYK is not handled; convert it to RGB",
    "cmyk.tif": "SEPARATED, are not handled",
    "cut.png": "cut or corrupt", "cut.jpg": "cut or corrupt|Truncated", "cut.webp": "cut|could not|cannot",
    "cut16.png": "cut", "cut16.tif": "cut",
    "animated.png": "it is animated, 2 frames", "animated.gif": "it is animated, 2 frames", "animated.webp": "2 frames",
    "pages.tif": "it holds 2 pages", "pages8.tif": "it holds 2 pages",
    "float.tif": "cannot|not handled|not an image", "bomb.png": "decompression bomb", "text.png": "it holds text",
    "empty.png": "the file is empty", "page.eps": "EPS is not read",
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_is_refused_by_its_reason(name, tmp_path):
    with pytest.raises(ImageError, match=BAD[name]):
        read(make_bad(name, tmp_path))
