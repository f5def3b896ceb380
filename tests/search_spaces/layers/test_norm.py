import torch
from torch.nn import functional as F

from search_spaces.layers.norm import ChannelLayerNorm


def test_channel_layer_norm_is_a_layer_norm_of_each_pixel():
    norm, x = ChannelLayerNorm(7, eps=1e-2), torch.randn(2, 7, 5, 6)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    wanted = F.layer_norm(x.permute(0, 2, 3, 1), (7,), norm.weight, norm.bias, eps=1e-2).permute(0, 3, 1, 2)
    torch.testing.assert_close(norm(x), wanted)
    assert {name: tuple(value.shape) for name, value in norm.state_dict().items()} == {
        "weight": (7,),
        "bias": (7,),
    }
