import pytest
import torch
from torch.nn import functional as F

from search_spaces.layers.regional.pool import grid_max_pool
from search_spaces.layers.regional.windows import merge_windows, split_windows
from tests.search_spaces.blocks.naive_acb import windows

SIZES = [(1, 1), (5, 200), (72, 72), (72, 73), (90, 150), (145, 71), (256, 256)]


def first_pixels(length, size):
    """Where the windows of an axis start, read from an image of pixel numbers."""
    numbers = torch.arange(float(length)).view(1, 1, 1, length)
    return split_windows(numbers, size)[0, 0, :, 0, 0, 0].tolist()


def test_windows_of_a_challenge_image_are_the_counted_ones():
    assert first_pixels(256, 72) == [0, 62, 124, 184]
    assert split_windows(torch.zeros(2, 5, 256, 256), 72).shape == (2, 4, 4, 5, 72, 72)


@pytest.mark.parametrize("size", [2, 5, 24, 72])
def test_windows_lie_as_in_the_released_loop_and_no_pixel_is_in_three(size):
    for length in range(1, 8 * size):
        found = first_pixels(length, size)
        assert found == [place.start for place in windows(length, size)]
        side = min(length, size)
        assert all(b - a >= side for a, b in zip(found, found[2:], strict=False))


@pytest.mark.parametrize("size", SIZES)
def test_merging_what_was_split_is_the_image(size):
    image = torch.rand(2, 3, *size)
    assert torch.equal(merge_windows(split_windows(image, 72), *size, 72), image)


@pytest.mark.parametrize("size", SIZES)
def test_overlaps_are_averaged(size):
    parts = split_windows(torch.rand(2, 3, *size, dtype=torch.float64), 72)
    parts = torch.rand(parts.shape, dtype=torch.float64)
    total, count = torch.zeros(2, 3, *size), torch.zeros(size)
    for i, rows in enumerate(windows(size[0], 72)):
        for j, columns in enumerate(windows(size[1], 72)):
            total[:, :, rows, columns] += parts[:, i, j]
            count[rows, columns] += 1
    found = merge_windows(parts, *size, 72)
    torch.testing.assert_close(found, (total / count).double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (11, 18), (13, 7)])
@pytest.mark.parametrize("size", [(13, 19), (90, 150), (64, 40)])
def test_grid_max_pool_is_that_of_pytorch(size, grid):
    image = torch.rand(2, 3, *size, requires_grad=True)
    weights = torch.rand(2, 3, *grid)
    gradients = []
    for pool in (lambda x: grid_max_pool(x, *grid), lambda x: F.adaptive_max_pool2d(x, grid)):
        out = pool(image)
        gradients.append((out, torch.autograd.grad((out * weights).sum(), image)[0]))
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)
