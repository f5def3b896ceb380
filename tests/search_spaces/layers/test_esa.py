import re

import pytest
import torch
from torch.nn import functional as F

from search_spaces.layers.attention.choice import make_attention
from search_spaces.layers.attention.esa import ESA, SpatialESA


def gate(esa, x):
    """As published, at sizes that it takes."""
    a = esa.reduce(x)
    t = esa.coarse(F.max_pool2d(esa.halve(a), kernel_size=7, stride=3))
    t = F.interpolate(t, x.shape[2:], mode="bilinear", align_corners=False)
    return torch.sigmoid(esa.expand(t + esa.fine(a)))


@pytest.mark.parametrize("size", [(15, 15), (17, 23), (32, 40)])
def test_esa_is_a_gate_of_its_input(size):
    esa, x = ESA(12, reduced=5), torch.randn(2, 12, *size)
    torch.testing.assert_close(esa(x), x * gate(esa, x))


@pytest.mark.parametrize("size", [(15, 15), (17, 23)])
def test_as_an_attention_it_weighs_the_sum_by_the_features(size):
    attention = make_attention("esa", 24)
    assert isinstance(attention, SpatialESA)
    x, f = torch.randn(2, 2, 24, *size).unbind(0)
    torch.testing.assert_close(attention(x, f), (x + f) * gate(attention.esa, f))
    assert attention.esa.reduce.out_channels == 8
    assert make_attention("esa", 6).esa.reduce.out_channels == 4


def test_as_an_attention_it_takes_every_size():
    attention = make_attention("esa", 6)
    for height in range(1, 18):
        for width in (1, 2, 3, 8, 17):
            f = torch.randn(1, 6, height, width, requires_grad=True)
            out = attention(torch.zeros_like(f), f)
            assert out.isfinite().all()
            (gradient,) = torch.autograd.grad(out.sum(), f)
            assert gradient.isfinite().all()


@pytest.mark.parametrize("size", [(14, 20), (20, 14), (1, 1)])
def test_as_published_it_refuses_sizes_that_cannot_be_pooled(size):
    with pytest.raises(ValueError, match=re.escape(f"got {size[0]}x{size[1]}; use a larger image")):
        ESA(6, reduced=4)(torch.randn(1, 6, *size))
