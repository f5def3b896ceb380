"""Networks by the names of their released checkpoints: random weights, and layers written from
formulas.
"""

import math
import re

import torch
from torch.nn import functional as F

from search_spaces import BlockSpec, build, published
from search_spaces.checkpoints.official import load_official
from search_spaces.layers.conv import plain_conv
from search_spaces.parts import make_block
from search_spaces.published import entry

MEAN = torch.tensor([0.4488, 0.4371, 0.4040]).double().view(1, 3, 1, 1)  # of float32, as released
GAIN = 0.4  # of random kernels: outputs of deep networks stay near the size of an image


def conv_shapes(name, out, given, kernel=1, bias=True):
    """Key -> shape of one convolution; `given` is 1 for a depthwise one."""
    return {f"{name}.weight": (out, given, kernel, kernel)} | (
        {f"{name}.bias": (out,)} if bias else {}
    )


def norm_shapes(name, channels):
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def random_state(shapes):
    """Weights in float64; every one differs, so that no two keys can be swapped unseen."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for key, shape in shapes.items():
        value = torch.randn(shape, generator=generator, dtype=torch.float64)
        if len(shape) == 4:
            state[key] = GAIN * value / math.sqrt(math.prod(shape[1:]))
        else:
            is_scale = key.endswith("weight")
            state[key] = 1 + 0.2 * value if is_scale else 0.2 * value
    return state


def load(name, state, folder, wrapper):
    """The published network with a released state, loaded as a file of its own."""
    torch.save({wrapper: state}, folder / "weights.pth")
    net = build(published(name)).double()
    load_official(net, folder / "weights.pth")
    return net


def assert_keys_are_those_of(name, state):
    """Every released key is meant by exactly one pattern, and every pattern means one."""
    patterns = entry(name)["official_keys"]
    used = [[p for p in patterns if re.fullmatch(p, key)] for key in state]
    assert all(len(found) == 1 for found in used)
    assert {found[0] for found in used} == set(patterns)


def make(kind, channels, **args):
    return make_block(BlockSpec.of(kind, channels=channels, **args), channels, plain_conv)


def conv(state, name, x, *, padding=0, groups=1, dilation=1):
    padded = F.pad(x, [padding] * 4)
    weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias")
    return F.conv2d(padded, weight, bias, groups=groups, dilation=dilation)


def depthwise(state, name, x):
    return conv(state, name, x, padding=1, groups=x.shape[1])


def assert_computes(net, formulas, state, size):
    """In float64 to rounding, in float32 to 1e-5; the two images differ in brightness."""
    torch.manual_seed(1)
    x = torch.rand(2, 3, *size, dtype=torch.float64)
    x[1] *= 0.3
    with torch.no_grad():
        expected = formulas(state, x)
        torch.testing.assert_close(net(x), expected, rtol=0, atol=1e-10)
        torch.testing.assert_close(net.float()(x.float()).double(), expected, rtol=0, atol=1e-5)


def sigmoid(x):
    return 1 / (1 + torch.exp(-x))


def gelu(x):
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def shuffle(x, scale=4):
    """Channel c * scale^2 + scale * i + j to colour c, row i, column j of each pixel."""
    n, _, height, width = x.shape
    image = x.view(n, 3, scale, scale, height, width).permute(0, 1, 4, 2, 5, 3)
    return image.reshape(n, 3, scale * height, scale * width)


def assert_passes_gradients(block, x):
    """Finite output of the input's shape, and finite gradients of all parameters and of the input."""
    x = x.clone().requires_grad_()
    out = block(x)
    assert out.shape == x.shape
    assert out.isfinite().all()
    out.square().mean().backward()
    for value in (x, *block.parameters()):
        assert value.grad is not None
        assert value.grad.isfinite().all()
        assert value.grad.any()
