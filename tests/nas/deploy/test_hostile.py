import pytest
import torch

from nas.deploy import hostile_images

IMAGES = hostile_images(24, 32)


def test_hostile_images_are_saturated_and_all_different():
    for image in IMAGES.values():
        assert image.shape == (1, 3, 24, 32)
        assert image.dtype == torch.float32
        assert set(image.unique().tolist()) <= {0.0, 1.0}
    assert len({image.numpy().tobytes() for image in IMAGES.values()}) == len(IMAGES)
    assert {"checkerboard", "noise", "dithered", "vertical stripes", "flat"} <= set(IMAGES)


def changes(image, axis):
    """Where a pixel differs from the one before it."""
    return image.diff(dim=axis).abs()


@pytest.mark.parametrize(("wide", "period"), [("", 1), ("wide ", 2)])
@pytest.mark.parametrize("green", ["", "green "])
@pytest.mark.parametrize(
    ("pattern", "axes"),
    [("checkerboard", {2, 3}), ("horizontal stripes", {2}), ("vertical stripes", {3})],
)
def test_patterns_alternate_along_their_axes_alone(wide, period, green, pattern, axes):
    image = IMAGES[f"{green}{wide}{pattern}"]
    for axis in (2, 3):
        changed = changes(image, axis)
        assert changed.any() == (axis in axes)
        if axis in axes:
            edges = changed.movedim(axis, 0).flatten(1).amin(1)
            assert edges[period - 1 :: period].all()
            assert edges.sum() == len(edges[period - 1 :: period])
    assert (image[:, 0] == image[:, 2]).all()
    assert (image[:, 0] == (1 - image[:, 1] if green else image[:, 1])).all()


def test_bars_hold_the_eight_saturated_colours_and_flat_one():
    colours = IMAGES["bars"][0, :, 0].unique(dim=1)
    assert colours.shape[1] == 8
    assert IMAGES["flat"].unique().numel() == 1


def test_dither_has_the_mean_of_its_ramp():
    dithered = hostile_images(64, 64)["dithered"].mean((0, 1, 2)).view(8, 8).mean(1)
    torch.testing.assert_close(dithered, torch.linspace(1 / 16, 15 / 16, 8), rtol=0, atol=0.03)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1)])
def test_hostile_images_exist_at_any_size(size):
    assert all(image.shape == (1, 3, *size) for image in hostile_images(*size).values())
