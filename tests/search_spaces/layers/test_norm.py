import pytest
import torch
from torch.nn import functional as F

from search_spaces.layers.norm import ChannelNorm, l2_normalise


def test_channel_norm_is_the_layer_norm_of_each_pixel():
    norm = ChannelNorm(6).double()
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 6, 3, 4, dtype=torch.float64)
    wanted = F.layer_norm(x.permute(0, 2, 3, 1), (6,), norm.weight, norm.bias, 1e-5).permute(0, 3, 1, 2)
    torch.testing.assert_close(norm(x), wanted)


def test_channel_norm_of_equal_features_is_finite():
    x = torch.ones(1, 4, 2, 2, requires_grad=True)
    out = ChannelNorm(4)(x)
    out.sum().backward()
    assert not out.any()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_l2_normalise_keeps_zero(dtype):
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=dtype)
    wanted = torch.tensor([[0.6, 0.8], [0.0, 0.0]], dtype=dtype)
    torch.testing.assert_close(l2_normalise(x, 1), wanted)
