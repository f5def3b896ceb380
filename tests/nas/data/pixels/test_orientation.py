"""HR and LR images that are turned against each other are told by their pixels."""

import numpy as np
import pytest
from PIL import Image

from nas.data import imresize
from nas.data.checks.lr_origin import find_origin
from nas.data.folders.layouts import open_folder
from nas.data.pixels.images import read_header
from nas.data.pixels.orientation import TURNS, find_turn, orientations
from nas.data.roles import open_roles
from tests.nas.data.pictures import CASES, config, needs_cases, picture, write


def write_turned(folder, orientation, *, height=64, width=64, upright=True):
    """An HR JPEG that EXIF turns, and the LR image of its upright or of its stored pixels."""
    stored = picture(3, height, width)
    exif = Image.Exif()
    exif[0x0112] = orientation
    (folder / "HR").mkdir(parents=True, exist_ok=True)
    Image.fromarray(stored).save(folder / "HR/a.jpg", exif=exif, quality=95)
    seen = np.asarray(Image.open(folder / "HR/a.jpg").convert("RGB"))
    shown = np.ascontiguousarray(orientations(seen)[orientation - 1 if upright else 0])
    write(folder / "LR/ax4.png", imresize(shown, 4))


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 96)])
def test_lr_of_the_upright_picture_is_refused(tmp_path, orientation, height, width):
    write_turned(tmp_path, orientation, height=height, width=width)
    found = open_folder(tmp_path, role="test", scale=4)
    assert found.pairs == ()
    assert (
        f"shows the scene {TURNS[orientation - 1]} (as EXIF orientations do)"
        in found.problems[0][1]
    )
    with pytest.raises(
        ValueError, match=r"HR/a\.jpg: its LR file ax4\.png .*data\.lr=none"
    ) as caught:
        open_roles(config(test=tmp_path), scale=4, progress=False)
    assert "\n" not in str(caught.value)


def test_lr_of_the_stored_pixels_is_right_whatever_exif_says(tmp_path):
    write_turned(tmp_path, 6, upright=False)
    assert read_header(tmp_path / "HR/a.jpg").orientation == 6
    found = open_folder(tmp_path, role="test", scale=4)
    assert len(found.pairs) == 1
    assert find_origin(found.pairs, scale=4, sample=None, progress=False).kind == "matlab"


def test_orientations_are_those_of_exif():
    """Pillow turns a picture upright by its EXIF orientation; ours agrees for each number."""
    from PIL import ImageOps

    stored = picture(0, 24, 40)
    for orientation in range(1, 9):
        image = Image.fromarray(stored)
        image.getexif()[0x0112] = orientation
        upright = np.asarray(ImageOps.exif_transpose(image))
        np.testing.assert_array_equal(orientations(stored)[orientation - 1], upright)


def test_a_pair_that_is_turned_without_exif_is_found_by_its_pixels(tmp_path):
    for seed, name in enumerate("ab"):
        image = picture(seed, 64, 64)
        write(tmp_path / f"HR/{name}.png", image)
        turned = np.ascontiguousarray(np.rot90(image)) if name == "b" else image
        write(tmp_path / f"LR/{name}x4.png", imresize(turned, 4))
    with pytest.raises(
        ValueError, match=r"HR/b\.png: its LR file bx4\.png shows the scene turned by 90 degrees"
    ):
        open_roles(config(test=tmp_path), scale=4, progress=False)
    roles = open_roles(config(test=tmp_path, on_error="skip"), scale=4, progress=False)
    assert [pair.name for pair in roles.need("test").pairs] == ["a"]


@pytest.mark.parametrize("degrade", [
    lambda lr: np.roll(lr, 1, axis=1),
    lambda lr: lr // 2 + np.random.default_rng(0).integers(0, 80, lr.shape, dtype=np.uint8),
    lambda lr: np.asarray(Image.fromarray(lr).resize((4, 4)).resize((16, 16))),
    lambda lr: 255 - lr,
])  # fmt: skip
def test_a_degraded_lr_image_is_not_taken_for_a_turned_one(degrade):
    hr = picture(5, 64, 64)
    assert find_turn(hr, degrade(imresize(hr, 4)), 4) is None


@needs_cases
@pytest.mark.parametrize("shape", ["tall", "square"])
def test_cases_of_exif_are_refused(shape):
    with pytest.raises(ValueError, match="shows the scene turned by 90 degrees to the right"):
        open_roles(config(test=CASES / "r4_exif_HR_upright_LR" / shape), scale=4, progress=False)
    made = open_roles(
        config(test=CASES / "r4_exif_HR_upright_LR" / shape, lr="none"), scale=4, progress=False
    )
    assert made.lr_origin("test") == "made from HR, MATLAB bicubic"
