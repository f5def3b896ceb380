import pytest
import torch
from torch.nn import functional as F

from nas.measure.cost import count
from search_spaces.layers.norm import ChannelLayerNorm, l2_normalise


def test_channel_layer_norm_is_that_of_pytorch_on_each_pixel():
    torch.manual_seed(0)
    norm = ChannelLayerNorm(7, eps=1e-5).double()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = 3 + torch.randn(2, 7, 5, 6, dtype=torch.float64)
    last = x.permute(0, 2, 3, 1)
    expected = F.layer_norm(last, (7,), norm.weight, norm.bias, eps=1e-5).permute(0, 3, 1, 2)
    torch.testing.assert_close(norm(x), expected, rtol=0, atol=1e-12)


def test_channel_layer_norm_is_free_where_pytorchs_is_counted():
    cost = count(ChannelLayerNorm(7, eps=1e-5), torch.rand(1, 7, 4, 4))
    assert (cost.params, cost.flops) == (14, 0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_l2_normalise_keeps_zero(dtype):
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=dtype)
    wanted = torch.tensor([[0.6, 0.8], [0.0, 0.0]], dtype=dtype)
    torch.testing.assert_close(l2_normalise(x, 1), wanted)


def test_a_pixel_of_equal_channels_has_finite_gradients():
    x = torch.full((1, 7, 2, 2), 0.5, requires_grad=True)
    (ChannelLayerNorm(7, eps=1e-5)(x) + l2_normalise(x)).sum().backward()
    assert x.grad.isfinite().all()


def test_l2_normalised_pixels_have_unit_norm_or_are_zero():
    x = torch.randn(2, 5, 3, 4)
    x[0, :, 0, 0] = 0
    x.requires_grad_()
    norms = l2_normalise(x).square().sum(1).sqrt()
    assert norms[0, 0, 0] == 0
    assert torch.allclose(norms.flatten()[1:], torch.ones(()))
    norms.sum().backward()
    assert x.grad[1].isfinite().all()
