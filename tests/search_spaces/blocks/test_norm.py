import pytest
import torch

from search_spaces.blocks.norm import LayerNorm
from search_spaces.layers.conv import plain_conv


def test_channels_of_each_pixel_are_normalised():
    norm = LayerNorm(5, eps=0.1, make_conv=plain_conv)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(2, 5, 17, 23, requires_grad=True)
    out = norm(x)
    centred = x - x.mean(1, keepdim=True)
    wanted = centred / (centred.square().mean(1, keepdim=True) + 0.1).sqrt()
    torch.testing.assert_close(out, wanted * norm.weight.view(5, 1, 1) + norm.bias.view(5, 1, 1))
    out.square().mean().backward()
    assert x.grad.isfinite().all()


def test_eps_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match=r"layer_norm.eps must be above 0, got 0.0; 1e-5 is usual"):
        LayerNorm(5, eps=0.0, make_conv=plain_conv)
