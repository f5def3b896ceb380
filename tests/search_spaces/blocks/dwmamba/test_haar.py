import math

import pytest
import torch

from search_spaces.blocks.dwmamba.haar import haar, inverse_haar


def test_maps_are_those_of_the_definition():
    """Of the pixels a, d in the even row and b, e in the odd one below them."""
    a, b, d, e = 1.0, 2.0, 4.0, 8.0
    low, horizontal, vertical, diagonal = haar(torch.tensor([[[[a, d], [b, e]]]]))
    assert low.item() == (a + b + d + e) / 2
    assert horizontal.item() == (-a - b + d + e) / 2
    assert vertical.item() == (-a + b - d + e) / 2
    assert diagonal.item() == (a - b - d + e) / 2


@pytest.mark.parametrize("shape", [(1, 1, 2, 2), (2, 3, 6, 10)])
def test_inverse_gives_the_map_back_with_its_gradient(shape):
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    maps = haar(x)
    torch.testing.assert_close(inverse_haar(*maps), x)
    torch.testing.assert_close(
        sum(m.square().sum() for m in maps), x.square().sum()
    )  # it is orthogonal
    assert torch.autograd.gradcheck(lambda x: inverse_haar(*(m * m for m in haar(x))), x)


def test_smooth_maps_have_no_edges():
    x = torch.full((1, 1, 4, 4), math.pi)
    assert not any(m.any() for m in haar(x)[1:])
    rows = torch.arange(4.0).view(1, 1, 4, 1).expand(1, 1, 4, 4)
    _, horizontal, vertical, diagonal = haar(rows)
    assert not horizontal.any()
    assert not diagonal.any()
    assert (vertical == 1).all()
