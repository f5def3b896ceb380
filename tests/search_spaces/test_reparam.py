"""Training forms are the functions that are folded from them: in float64, borders and gradients too."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from search_spaces import build, published
from search_spaces.published import names
from search_spaces.reparam import RepConv2d

CASES = [(3, 5, 3, True), (4, 4, 3, False), (2, 6, 1, True), (3, 2, 5, True)]


class Branches(nn.Module):
    """The same layer, its branches run one by one."""

    def __init__(self, conv):
        super().__init__()
        self.conv = conv

    def forward(self, x):
        return self.conv.branches(x)


def rep_conv(in_channels, channels, kernel, bias):
    torch.manual_seed(0)
    return RepConv2d(in_channels, channels, kernel=kernel, bias=bias, gain=2).double()


@pytest.mark.parametrize(("in_channels", "channels", "kernel", "bias"), CASES)
def test_merged_kernel_is_the_branches_at_the_borders_too(in_channels, channels, kernel, bias):
    conv = rep_conv(in_channels, channels, kernel, bias)
    x = torch.randn(2, in_channels, 6, 7, dtype=torch.float64)
    torch.testing.assert_close(conv(x), conv.branches(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("in_channels", "channels", "kernel", "bias"), CASES)
def test_merged_kernel_gives_the_gradients_of_the_branches(in_channels, channels, kernel, bias):
    conv = rep_conv(in_channels, channels, kernel, bias)
    x = torch.randn(2, in_channels, 6, 7, dtype=torch.float64, requires_grad=True)
    wanted = [x, *conv.parameters()]
    weights = torch.randn(2, channels, 6, 7, dtype=torch.float64)
    merged = torch.autograd.grad((conv(x) * weights).sum(), wanted)
    branches = torch.autograd.grad((conv.branches(x) * weights).sum(), wanted)
    for one, other in zip(merged, branches, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", names())
def test_training_form_is_its_folded_network(name):
    torch.manual_seed(0)
    net = build(published(name), train=True).double().eval()  # some draw random numbers in training
    folded = net.fold()
    assert folded.spec == net.spec
    assert not any(isinstance(module, RepConv2d) for module in folded.modules())
    assert list(folded.state_dict()) == list(build(published(name)).state_dict())
    x = torch.rand(2, 3, 9, 11, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(folded(x), net(x), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", names())
def test_training_form_is_its_branches_run_one_by_one(name):
    torch.manual_seed(0)
    net = build(published(name), train=True).double().eval()  # some draw random numbers in training
    x = torch.rand(1, 3, 8, 9, dtype=torch.float64)
    with torch.no_grad():
        merged = net(x)
        for module in net.modules():
            if isinstance(module, RepConv2d):
                module.forward = module.branches
        torch.testing.assert_close(merged, net(x), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("name", "numbers"), [("span", 634_048), ("spanf", None), ("spanv2", None)])
def test_training_form_holds_its_branches(name, numbers):
    """634,048 is what SPAN's repository counts for its own training branches (DESIGN 2)."""
    net = build(published(name), train=True)
    held = sum(p.numel() for p in net.parameters())
    plain = sum(p.numel() for p in build(published(name)).parameters())
    assert held > 4 * plain
    assert numbers in (None, held)


def test_fold_keeps_dtype_mode_and_the_original():
    net = build(published("spanv2"), train=True).double().eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    folded = net.fold()
    assert not folded.training
    assert next(folded.parameters()).dtype == torch.float64
    with torch.no_grad():
        for parameter in folded.parameters():
            parameter.zero_()
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_fold_of_a_plain_network_is_a_copy():
    net = build(published("spanv2"))
    x = torch.rand(1, 3, 8, 8)
    folded = net.fold()
    torch.testing.assert_close(functional_call(folded, dict(net.state_dict()), (x,)), net(x))
    torch.testing.assert_close(folded(x), net(x))
