"""SSIM equals scikit-image's in the convention of the challenge and BasicSR."""

import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr
from skimage.metrics import structural_similarity

from nas.measure.structure import ssim_rgb_and_y
from tests.nas.data.pictures import picture

OPTIONS = {
    "gaussian_weights": True,
    "sigma": 1.5,
    "use_sample_covariance": False,
    "data_range": 255,
}


def as_batch(pixels):
    return torch.tensor(np.array(pixels)).permute(2, 0, 1).unsqueeze(0)


@pytest.mark.parametrize("border", [2, 4])
@pytest.mark.parametrize("shape", [(64, 80), (19, 31)])
def test_ssim_is_that_of_scikit_image(border, shape):
    target = picture(0, *shape)
    noise = np.random.default_rng(1).normal(0, 12, target.shape)
    output = target / 255 + noise / 255
    ours = ssim_rgb_and_y(as_batch(output), as_batch(target), border)

    # Clamped, rounded and cropped as an image that is saved.
    inner = (slice(border, -border), slice(border, -border))
    saved = np.clip(255 * output, 0, 255).round()[inner]
    rgb = structural_similarity(target[inner].astype(float), saved, channel_axis=2, **OPTIONS)
    lumas = [rgb2ycbcr(image / 255)[..., 0] for image in (target[inner], saved)]
    luma = structural_similarity(*lumas, **OPTIONS)
    assert ours == pytest.approx((rgb, luma), abs=1e-9)


def test_equal_images_have_an_ssim_of_one():
    target = picture(0, 24, 24)
    assert ssim_rgb_and_y(as_batch(target / 255), as_batch(target), 4) == (1.0, 1.0)


def test_an_image_smaller_than_the_window_has_none():
    target = picture(0, 18, 40)
    assert ssim_rgb_and_y(as_batch(target / 255), as_batch(target), 4) == (None, None)
