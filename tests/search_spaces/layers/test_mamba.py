import math
import re

import pytest
import torch
from torch.nn import functional as F

from search_spaces.layers.mamba import Mamba
from tests.search_spaces.layers.scans import token_loop


def by_definition(net, tokens):
    """The mixer token by token, written from the paper."""
    state = {name: value.detach() for name, value in net.named_parameters()}
    inner, d_state = state["A_log"].shape
    kernel, rank = state["conv1d.weight"].shape[2], state["dt_proj.weight"].shape[1]
    both = tokens @ state["in_proj.weight"].T
    a, z = both[..., :inner], both[..., inner:]
    mixed = state["conv1d.bias"].expand_as(a).clone()
    for t in range(a.shape[1]):
        for k in range(kernel):
            before = t - (kernel - 1) + k
            if before >= 0:
                mixed[:, t] += state["conv1d.weight"][:, 0, k] * a[:, before]
    a = mixed * mixed.sigmoid()
    made = a @ state["x_proj.weight"].T
    step, B, C = made[..., :rank], made[..., rank : rank + d_state], made[..., rank + d_state :]
    delta = torch.log1p(torch.exp(step @ state["dt_proj.weight"].T + state["dt_proj.bias"]))
    y = token_loop(a, delta, -state["A_log"].exp(), B, C, state["D"])
    return (y * F.silu(z)) @ state["out_proj.weight"].T


@pytest.mark.parametrize("sizes", [{}, {"d_state": 3, "expand": 1, "kernel": 1, "rank": 2}])
@pytest.mark.parametrize("length", [1, 3, 41])
def test_mixer_is_what_the_paper_says(length, sizes):
    torch.manual_seed(length)
    net = Mamba(18, **sizes).double()
    tokens = torch.randn(2, length, 18, dtype=torch.float64)
    torch.testing.assert_close(net(tokens), by_definition(net, tokens), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("channels", "rank"), [(1, 1), (16, 1), (17, 2), (48, 3), (60, 4)])
def test_default_sizes_are_those_published(channels, rank):
    shapes = {name: tuple(value.shape) for name, value in Mamba(channels).named_parameters()}
    inner = 2 * channels
    assert shapes == {
        "A_log": (inner, 16),
        "D": (inner,),
        "in_proj.weight": (2 * inner, channels),
        "conv1d.weight": (inner, 1, 4),
        "conv1d.bias": (inner,),
        "x_proj.weight": (rank + 32, inner),
        "dt_proj.weight": (inner, rank),
        "dt_proj.bias": (inner,),
        "out_proj.weight": (channels, inner),
    }


def test_decays_and_steps_start_as_published():
    torch.manual_seed(0)
    net = Mamba(512)
    torch.testing.assert_close(net.A_log.exp(), torch.arange(1.0, 17.0).expand(1024, 16))
    assert torch.equal(net.D, torch.ones(1024))
    assert net.dt_proj.weight.abs().max() <= 32**-0.5
    steps = F.softplus(net.dt_proj.bias)
    assert 0.99e-3 <= steps.min() < 1.2e-3
    assert 0.09 < steps.max() <= 0.101
    assert steps.log().mean().item() == pytest.approx(
        math.log(1e-2), abs=0.2
    )  # the middle of 1e-3 and 1e-1


def test_no_token_sees_those_behind_it():
    torch.manual_seed(0)
    net, tokens = Mamba(6), torch.randn(1, 30, 6)
    before = net(tokens)
    tokens[:, 20:] += 1
    after = net(tokens)
    torch.testing.assert_close(after[:, :20], before[:, :20], rtol=0, atol=1e-6)
    assert ((after - before)[:, 20:].abs().amax(-1) > 1e-5).all()


@pytest.mark.parametrize("name", ["d_state", "expand", "kernel", "rank"])
def test_sizes_below_one_are_refused(name):
    with pytest.raises(ValueError, match=re.escape(f"mamba.{name} must be at least 1, got 0")):
        Mamba(8, **{name: 0})
