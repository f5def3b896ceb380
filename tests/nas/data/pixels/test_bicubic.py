"""imresize against MATLAB's files and against a slow transcription of its definition."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from nas.data import imresize
from nas.data.pixels.images import read_image
from nas.data.sets import crop_to_multiple

SHARED = Path(__file__).parents[4].parent / "shared" / "data"


def exact(signal, scale):
    """One pass over a list of whole numbers in fractions: no rounding but the last."""
    out = []
    for i in range(len(signal) // scale):
        centre = Fraction(2 * i * scale + scale - 1, 2)
        total = weights = Fraction(0)
        for j in range(int(centre) - 3 * scale, int(centre) + 3 * scale):
            x = abs(j - centre) / scale
            if x <= 1:
                weight = Fraction(3, 2) * x**3 - Fraction(5, 2) * x**2 + 1
            elif x < 2:
                weight = -Fraction(1, 2) * x**3 + Fraction(5, 2) * x**2 - 4 * x + 2
            else:
                continue
            weights += weight
            total += weight * int(signal[min(max(j, 0), len(signal) - 1)])
        out.append(total / weights)
    return out


@pytest.mark.parametrize("name", ["Set5", "Set14", "BSD100"])
def test_imresize_equals_matlab_files(name):
    if not (SHARED / name).is_dir():
        pytest.skip(f"no {SHARED / name}: the LR files that MATLAB made are not in the repository")
    files = sorted((SHARED / name / "HR").glob("*.png"))
    assert files
    different = 0
    for file in files:
        lr = read_image(SHARED / name / "LR_bicubic" / "X4" / f"{file.stem}x4.png")
        different += int((imresize(crop_to_multiple(read_image(file), 4), 4) != lr).sum())
    assert different == 0


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_imresize_rounds_and_clamps_between_the_passes(scale):
    image = (np.random.default_rng(scale).integers(0, 2, (6 * scale, 5 * scale)) * 255).astype(
        np.uint8
    )
    columns = [exact(column, scale) for column in image.T]
    between = np.array(
        [[min(max(round_half_up(v), 0), 255) for v in column] for column in columns]
    ).T
    sums = [exact(row, scale) for row in between]
    result = imresize(image, scale)
    for y, row in enumerate(sums):
        for x, value in enumerate(row):
            # At scale 3 a half in exact arithmetic is decided by MATLAB's float64 noise.
            allowed = {round_half_up(value)} | (
                {int(value)} if scale == 3 and value % 1 == Fraction(1, 2) else set()
            )
            assert result[y, x] in {min(max(v, 0), 255) for v in allowed}


def round_half_up(value):
    return int((value + Fraction(1, 2)) // 1)


def test_imresize_variants_differ_and_agree_on_a_plane():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert (imresize(image, 4) != imresize(image, 4, variant="python")).mean() > 0.05
    flat = np.full((32, 32, 3), 77, dtype=np.uint8)
    assert (imresize(flat, 4) == 77).all()
    assert (imresize(flat, 4, variant="python") == 77).all()


def test_python_variant_mirrors_the_edges():
    """Mirrored edges: the image continued by its mirror image has the same result inside."""
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    continued = np.pad(image, ((16, 16), (16, 16), (0, 0)), mode="symmetric")
    inside = imresize(continued, 4, variant="python")[4:-4, 4:-4]
    np.testing.assert_array_equal(imresize(image, 4, variant="python"), inside)
    repeated = np.pad(image, ((16, 16), (16, 16), (0, 0)), mode="edge")
    np.testing.assert_array_equal(imresize(image, 4), imresize(repeated, 4)[4:-4, 4:-4])


def test_imresize_treats_channels_alike_and_keeps_its_input():
    image = np.random.default_rng(2).integers(0, 256, (40, 24, 3), dtype=np.uint8)
    before = image.copy()
    small = imresize(image, 4)
    assert small.shape == (10, 6, 3)
    assert small.dtype == np.uint8
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(small[:, :, 1], imresize(image[:, :, 1], 4))
    np.testing.assert_array_equal(imresize(image, 1), image)


@pytest.mark.parametrize(
    ("shape", "dtype", "scale", "message"),
    [
        ((8, 8, 3), np.float32, 4, "must be uint8.*float32"),
        ((9, 8, 3), np.uint8, 4, "9x8 with scale=4; crop to 8x8"),
        ((8, 10), np.uint8, 4, "crop to 8x8"),
        ((8,), np.uint8, 4, "must be .H, W."),
        ((0, 8, 3), np.uint8, 4, "not empty"),
        ((8, 8, 3), np.uint8, 0, "scale must be"),
    ],
)
def test_imresize_refuses_what_it_cannot_do(shape, dtype, scale, message):
    with pytest.raises(ValueError, match=message):
        imresize(np.zeros(shape, dtype=dtype), scale)


def test_imresize_refuses_an_unknown_variant():
    with pytest.raises(ValueError, match="'matlab' or 'python'"):
        imresize(np.zeros((8, 8), dtype=np.uint8), 4, variant="octave")
