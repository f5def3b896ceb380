import pytest
import torch
from torch.nn import functional as F

from search_spaces.layers.attention.choice import make_attention
from search_spaces.layers.regional.variance import VarianceAttention, VarianceGuide


def random_gate(channels):
    torch.manual_seed(0)
    return make_attention("variance", channels).double()


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 30), (15, 16)])
def test_guide_has_a_region_at_least_and_is_finite_in_any_image(size, weighed):
    x = torch.randn(2, 4, *size, requires_grad=True)
    out = VarianceGuide(4, weighed=weighed)(x)
    out.sum().backward()
    assert out.shape == (2, 4, max(1, size[0] // 8), max(1, size[1] // 8))
    assert out.isfinite().all()
    assert x.grad.isfinite().all()


def test_weights_of_the_guide_start_with_the_maxima_alone():
    plain, weighed = VarianceGuide(4, weighed=False), VarianceGuide(4, weighed=True)
    weighed.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(1, 4, 16, 16)
    assert not torch.allclose(plain(x), weighed(x))
    torch.nn.init.ones_(weighed.variance_scale.weight)
    assert torch.equal(plain(x), weighed(x))


def test_attention_without_gate_is_its_input():
    attention = VarianceAttention(4, weighed=False)
    torch.nn.init.zeros_(attention.guide.mix.weight)
    x = torch.randn(1, 4, 9, 9)
    assert torch.equal(attention(x), x)


def test_gate_is_one_of_regions_of_the_features_alone():
    gate = random_gate(6)
    x, f = torch.randn(2, 2, 6, 16, 24, dtype=torch.float64)
    found = gate(x, f) / (x + f)
    assert found.std() > 1e-3
    torch.testing.assert_close(found, gate(2 * x, f) / (2 * x + f))
    regions = found.unfold(2, 8, 8).unfold(3, 8, 8)
    torch.testing.assert_close(regions, regions[..., :1, :1].expand_as(regions))


def test_gate_is_computed_as_it_is_documented():
    gate = random_gate(5)
    x, f = torch.randn(2, 1, 5, 16, 16, dtype=torch.float64)
    t = F.conv2d(f / f.norm(dim=1, keepdim=True), gate.reduce.weight)
    assert t.shape[1] == 2
    maxima = F.conv2d(F.max_pool2d(t, 8), gate.guide.local.weight, padding=1, groups=2)
    w = F.gelu(F.conv2d(maxima + t.var((2, 3), keepdim=True), gate.guide.mix.weight))
    g = F.conv2d(w, gate.expand.weight, gate.expand.bias)
    wanted = (x + f) * g.repeat_interleave(8, 2).repeat_interleave(8, 3)
    torch.testing.assert_close(gate(x, f), wanted)


def test_gate_of_one_channel_and_one_pixel_is_finite():
    x = torch.randn(1, 1, 1, 1, dtype=torch.float64)
    assert random_gate(1)(x, x).isfinite().all()
