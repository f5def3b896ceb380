"""Reading images: what is refused says why and by name."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from nas.data.pixels.images import ImageError, read_header, read_image, read_size


def noise(height=20, width=30, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def png16(path, colour_type):
    """A 16-bit PNG of 4x4, which Pillow cannot write in colour."""
    channels = {0: 1, 2: 3}[colour_type]

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    rows = b"".join(b"\0" + bytes(8 * channels) for _ in range(4))
    header = struct.pack(">IIBBBBB", 4, 4, 16, colour_type, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


def refused(path, reason, *, by_header=True):
    with pytest.raises(ImageError, match=reason) as caught:
        read_image(path)
    assert caught.value.path == path
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, ValueError)
    if by_header:
        with pytest.raises(ImageError, match=reason):
            read_size(path)


def test_text_file_named_png_is_refused(tmp_path):
    (tmp_path / "a.png").write_text("this is text\n")
    refused(tmp_path / "a.png", "not an image .it holds text")


def test_empty_file_is_refused(tmp_path):
    (tmp_path / "a.png").touch()
    refused(tmp_path / "a.png", "0 bytes")


def test_missing_file_is_refused(tmp_path):
    refused(tmp_path / "a.png", "no such file")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_truncated_file_is_refused(tmp_path, suffix, kept):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise(64, 64)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    refused(path, "cut or corrupt|header is cut|not an image")


def test_garbled_png_is_refused_when_decoded(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(noise(64, 64)).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    path.write_bytes(data)
    refused(path, "cut or corrupt", by_header=False)


@pytest.mark.parametrize("colour_type", [0, 2])
def test_16_bit_png_is_refused(tmp_path, colour_type):
    png16(tmp_path / "a.png", colour_type)
    refused(tmp_path / "a.png", "8 bits a channel; convert it to 8 bits")


def test_16_bit_tiff_is_refused(tmp_path):
    Image.fromarray(noise(channels=1).astype(np.uint16)).save(tmp_path / "a.tif")
    refused(tmp_path / "a.tif", "convert it to 8 bits")


def test_partly_transparent_image_is_refused(tmp_path):
    rgba = noise(channels=4)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    refused(tmp_path / "a.png", "partly transparent")


def test_cmyk_is_refused(tmp_path):
    Image.fromarray(noise()).convert("CMYK").save(tmp_path / "a.jpg")
    refused(tmp_path / "a.jpg", "CMYK")


def test_rgb_is_read_as_it_is(tmp_path):
    Image.fromarray(noise()).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), noise())
    assert read_size(tmp_path / "a.png") == (20, 30)


def test_opaque_alpha_is_dropped(tmp_path):
    rgba = noise(channels=4)
    rgba[:, :, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), rgba[:, :, :3])


def test_grey_and_palette_become_rgb(tmp_path):
    grey = noise(channels=1)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(
        read_image(tmp_path / "grey.png"), np.repeat(grey[:, :, None], 3, axis=2)
    )
    palette = Image.fromarray(noise()).quantize(16)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(
        read_image(tmp_path / "palette.png"), np.asarray(palette.convert("RGB"))
    )


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize(("said", "read"), [(6, 6), (1, 1), (0, 1), (9, 1)])
def test_header_gives_the_exif_orientation(tmp_path, suffix, said, read):
    exif = Image.Exif()
    exif[0x0112] = said
    Image.fromarray(noise()).save(tmp_path / f"a.{suffix}", exif=exif)
    Image.fromarray(noise()).save(tmp_path / f"b.{suffix}")
    assert read_header(tmp_path / f"a.{suffix}").orientation == read
    assert read_header(tmp_path / f"b.{suffix}").orientation == 1


def test_header_of_a_png_is_read_without_decoding_it(tmp_path, monkeypatch):
    Image.fromarray(noise()).save(tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("decoded"))
    assert read_size(tmp_path / "a.png") == (20, 30)


def test_exif_orientation_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise()).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (20, 30, 3)
    assert read_size(tmp_path / "a.jpg") == (20, 30)
