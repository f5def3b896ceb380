import dataclasses

import pytest
import torch
from torch import nn

from search_spaces import build, published
from search_spaces.initialise import initial_network
from tests.search_spaces.tiny import tiny_spec


@pytest.mark.parametrize("attention", ["parameter_free", "conv1x1", "diagonal", "none", "variance"])
@pytest.mark.parametrize("normalise", [True, False])
def test_every_convolution_starts_with_features_of_unit_size(attention, normalise):
    """In a deep network with learned gates PyTorch's own start gives an output of 1e6 and more."""
    spec = tiny_spec(
        num_blocks=6, channels=32, attention=attention, normalise=normalise, taps="all"
    )
    images = torch.rand(8, 3, 16, 16)
    net = initial_network(spec, 0, images)
    sizes = {}
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d) and module is not net.upsampler.conv:
            module.register_forward_hook(
                lambda _m, _i, out, name=name: sizes.update({name: out.std().item()})
            )
    with torch.no_grad():
        net(images)
    assert len(sizes) == 1 + 3 * 6 + 2 + 6 * {"conv1x1": 1, "diagonal": 1, "variance": 4}.get(
        attention, 0
    )
    wanted = {name: 0.05 if ".attention." in name else 1.0 for name in sizes}
    assert sizes == pytest.approx(wanted, rel=1e-3)


def test_upsampler_is_zero_or_as_pytorch_draws_it():
    spec, images = published("span"), torch.rand(1, 3, 8, 8)
    assert not initial_network(spec, 3, images)(images).any()
    torch.manual_seed(3)
    drawn = build(spec).upsampler.conv
    left = initial_network(spec, 3, images, zero_output=False).upsampler.conv
    assert torch.equal(left.weight, drawn.weight)


def test_refined_upsampler_starts_at_zero_and_learns():
    """Were all its convolutions zero, no gradient would pass the second from the end."""
    images = torch.rand(2, 3, 16, 16)
    spec = dataclasses.replace(published("zenosr"), wrap=())
    net = initial_network(spec, 0, images)
    out = net(images)
    assert not out.any()
    (out - 1).square().mean().backward()
    assert net.upsampler.refine[-1].weight.grad.any()


@pytest.mark.parametrize(
    "attention", ["parameter_free", "hard_parameter_free", "conv1x1", "none", "variance"]
)
def test_blocks_start_by_passing_their_features_on(attention):
    """With PyTorch's kernels the last of six blocks gives what has nothing to do with its input."""
    spec = tiny_spec(num_blocks=6, channels=28, attention=attention, normalise=True, taps="all")
    images = torch.rand(4, 3, 16, 16)
    net = initial_network(spec, 0, images)
    kept = []
    for block in list(net.blocks.values())[:6]:
        block.register_forward_hook(lambda _m, given, out: kept.append((given[0], out)))
    with torch.no_grad():
        net(images)
    for given, out in kept:
        assert torch.corrcoef(torch.stack([given.flatten(), out.flatten()]))[0, 1] > 0.5


def test_parameter_free_gates_start_nearly_constant():
    """Without a bias the gate of small features is a product with themselves: what is small dies."""
    spec = tiny_spec(num_blocks=6, channels=28, normalise=True, taps="all")
    images = torch.rand(4, 3, 16, 16)
    net = initial_network(spec, 0, images)
    features = []
    for block in list(net.blocks.values())[:6]:
        block.conv3.register_forward_hook(lambda _m, _i, out: features.append(out))
    with torch.no_grad():
        net(images)
    assert len(features) == 6
    for f in features:
        gate = torch.sigmoid(f) - 0.5
        assert gate.mean() > 2 * gate.std()
