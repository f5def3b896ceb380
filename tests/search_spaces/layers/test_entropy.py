import math

import pytest
import torch

from search_spaces.layers.attention import ATTENTIONS, VALUEWISE
from search_spaces.layers.attention.choice import make_attention
from search_spaces.layers.attention.entropy import EntropyGate


@pytest.mark.parametrize(("channels", "squeezed"), [(54, 6), (28, 3), (9, 1), (4, 1), (1, 1)])
def test_entropy_is_its_formula(channels, squeezed):
    torch.manual_seed(0)
    attention = make_attention("entropy", channels).double()
    x, f = torch.randn(2, 2, channels, 5, 7, dtype=torch.float64)
    gate = attention.gate
    assert gate.squeeze.weight.shape == (squeezed, channels, 1, 1)
    maps = torch.einsum(
        "oc,nchw->nohw", gate.squeeze.weight.flatten(1), f
    )  # a bias moves no variance
    entropy = 0.5 * math.log(2 * math.pi * math.e) + torch.log(maps.flatten(2).std(2))
    logits = entropy @ gate.expand.weight.flatten(1).T + gate.expand.bias
    expected = (x + f) / (1 + torch.exp(-logits))[:, :, None, None]
    torch.testing.assert_close(attention(x, f), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(5, 7), (1, 1), (1, 4)])
@pytest.mark.parametrize("value", [0.0, 0.3, -2.0])
def test_entropy_of_a_constant_image_has_finite_gradients(value, size):
    torch.manual_seed(0)
    attention = make_attention("entropy", 12)
    f = torch.full((2, 12, *size), value, requires_grad=True)
    out = attention(f, f)
    out.square().sum().backward()
    assert out.isfinite().all()
    assert f.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in attention.parameters())


def test_released_gate_has_no_least_variance():
    """Without one the logarithm of a variance below it is taken as it is."""
    torch.manual_seed(0)
    guarded, released = (EntropyGate(12, least_variance=least) for least in (1e-6, 0.0))
    released.load_state_dict(guarded.state_dict())
    f = torch.randn(1, 12, 5, 7)
    assert torch.equal(guarded(f), released(f))
    assert not torch.equal(guarded(1e-4 * f), released(1e-4 * f))


def test_entropy_is_no_gate_of_single_values():
    assert "entropy" in ATTENTIONS
    assert "entropy" not in VALUEWISE
