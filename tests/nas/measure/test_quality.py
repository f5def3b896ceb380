import math
from functools import partial

import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr
from torch.nn import functional as F

from nas.data.roles import open_roles
from nas.measure.quality import labels, mean_db, per_image, psnr_db, psnr_y_db, upscale_pixels
from tests.nas.data.pictures import config, picture, write, write_pairs

CPU = torch.device("cpu")


def image(value, size=12):
    return torch.full((1, 3, size, size), float(value))


def nearest(x):
    return F.interpolate(x, scale_factor=4, mode="nearest")


def test_psnr_of_a_known_error():
    assert psnr_db(image(110) / 255, image(100), 4) == pytest.approx(
        20 * math.log10(255 / 10), abs=1e-12
    )
    one_channel = image(100) / 255
    one_channel[:, 0] = 110 / 255
    expected = 20 * math.log10(255 / 10) + 10 * math.log10(3)  # MSE is over all three channels
    assert psnr_db(one_channel, image(100), 4) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("value", "target"), [(1.7, 255), (-0.3, 0), (100.4 / 255, 100), (99.6 / 255, 100)]
)
@pytest.mark.parametrize("measure", [psnr_db, psnr_y_db])
def test_output_is_clamped_and_rounded(measure, value, target):
    assert measure(image(value), image(target), 4) == math.inf


@pytest.mark.parametrize("border", [0, 2, 3, 4])
@pytest.mark.parametrize("measure", [psnr_db, psnr_y_db])
def test_exactly_the_border_is_dropped(measure, border):
    output = image(100) / 255
    inner = output.clone()
    inner[..., border : 12 - border, border : 12 - border] = 0.5
    if border:
        outside = inner.clone()
        outside[..., border : 12 - border, border : 12 - border] = 100 / 255
        outside[..., :border, :] = 0.9
        assert measure(outside, image(100), border) == math.inf
    edge = output.clone()
    edge[..., border, border] = 0.9
    assert measure(edge, image(100), border) < math.inf


def test_psnr_on_y_is_that_of_bt601():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 20, 24, 3), dtype=np.uint8)
    luma = [rgb2ycbcr(one)[4:-4, 4:-4, 0] for one in (a, b)]
    expected = 10 * math.log10(255**2 / np.mean((luma[0] - luma[1]) ** 2))
    output, target = (torch.from_numpy(one).permute(2, 0, 1).unsqueeze(0) for one in (a, b))
    assert psnr_y_db(output.float() / 255, target, 4) == pytest.approx(expected, abs=1e-4)


def test_the_mean_is_that_of_the_images_db():
    assert mean_db({"a": 30.0, "b": 20.0}) == 25.0


@pytest.mark.parametrize("scale", [2, 4])
def test_per_image_drops_a_border_of_the_scale(scale, tmp_path):
    write_pairs(tmp_path, None, ["a"])
    images = open_roles(config(test=tmp_path), scale=scale, roles=("test",)).need("test")

    def wrong_down_to(rows, x):
        hr = torch.from_numpy(images.load(0)[1]).permute(2, 0, 1).unsqueeze(0).float() / 255
        assert tuple(x.shape) == (1, 3, hr.shape[2] // scale, hr.shape[3] // scale)
        assert x.min() >= 0
        assert x.max() <= 1
        hr[..., :rows, :] = 1 - hr[..., :rows, :]
        return hr

    assert per_image(partial(wrong_down_to, scale), images, CPU) == {"a": math.inf}
    assert per_image(partial(wrong_down_to, scale + 1), images, CPU)["a"] < math.inf


def test_images_of_one_name_in_two_folders_all_count(tmp_path):
    for seed, folder in enumerate("ab"):
        write(tmp_path / folder / "0001.png", picture(seed))
    write(tmp_path / "b" / "0002.png", picture(7))
    given = config(test=[str(tmp_path / "a"), str(tmp_path / "b")])
    images = open_roles(given, scale=4, roles=("test",)).need("test")
    results = per_image(nearest, images, CPU)
    assert list(results) == labels(images)
    assert len(results) == 3
    assert sum(name.endswith("0001.png") for name in results) == 2
    assert "0002" in results
    pixels = [psnr_db(*upscale_pixels(nearest, *images.load(i), CPU), 4) for i in range(3)]
    assert list(results.values()) == pixels


@pytest.mark.parametrize("measure", [psnr_db, psnr_y_db])
def test_an_image_without_a_pixel_inside_the_border_is_refused_with_its_size(measure):
    with pytest.raises(ValueError, match=r"8x8 .* leaves no pixel inside the border of 4"):
        measure(image(0.5, 8), image(100, 8), 4)
    assert measure(image(100 / 255, 9), image(100, 9), 4) == math.inf
