"""Start a network with features of unit size and nearly linear blocks, at any depth."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.blocks.chain import ResidualChain
from search_spaces.blocks.rfdb import RFDB
from search_spaces.blocks.spab import SPAB
from search_spaces.layers.attention import LEARNED_GATES, PARAMETER_FREE_GATES
from search_spaces.network import Network, build
from search_spaces.spec import ArchSpec

GATE_SIZE, GATE_BIAS = 0.05, 0.7  # 0.7 (x + f) has about the size of x and f
OPEN = (
    2.0  # bias of the features under a parameter-free gate: sigmoid(2) - 0.5 = 0.38 for all of them
)
IDENTITY = 0.9  # share of the identity in the squared norm of a square kernel
SMALLEST = 1e-8  # a feature map below this is left as it is


def initial_network(
    spec: ArchSpec, seed: int, images: Tensor, *, zero_output: bool = True
) -> Network:
    """Return a network at its start: all features are of unit size, and blocks pass them on.

    PyTorch's initialisation comes first, then three changes that keep deep networks alive. (The
    parameter-free gate is a product of features, which vanishes where they are small: started by
    PyTorch, blocks 4 to 6 of SPAN give nothing after 500 steps.)

    - square 3x3 kernels are nine tenths the identity;
    - gates start nearly constant: parameter-free ones by a bias of their features, learned ones by
      their own;
    - in the order in which they run, every convolution but the upsampler and the near-pixel branch
      is scaled to a standard deviation of one on some images.

    Source: Mishkin and Matas, All you need is a good init (LSUV), ICLR 2016 (scaling); Zagoruyko
    and Komodakis, DiracNets, 2017 (identity); benchmarks/proxy/proxy.py (the shares).

    Args:
        spec: for a training of residuals without a fixed skip branch, which the base stands in for.
        seed: of PyTorch's initialisation; the global generator is left as it was.
        images: (N, 3, H, W) in [0, 1].
        zero_output: the upsampler's last convolution is zero, as a residual starts.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = build(spec)

    # All convolutions are scaled but those on the way to the image.
    left = {*net.upsampler.modules(), net.skip}
    scaled = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m not in left]

    # Those that make gates, and those that make the features under a parameter-free gate.
    gates = {m for part in net.modules() if isinstance(part, LEARNED_GATES) for m in part.modules()}
    attending = [part for part in net.modules() if isinstance(part, SPAB | ResidualChain | RFDB)]
    opened = {part.gated for part in attending if isinstance(part.attention, PARAMETER_FREE_GATES)}

    # One forward pass scales all of them in order: each sees what those before it give by then.
    hooks = [m.register_forward_hook(_scale_to(GATE_SIZE if m in gates else 1.0)) for m in scaled]
    with torch.no_grad():
        for parameter in net.upsampler.last.parameters() if zero_output else ():
            parameter.zero_()
        for module in scaled:
            _fill_bias(module, GATE_BIAS if module in gates else OPEN if module in opened else 0.0)
            _mix_identity(module.weight)
        net(images)

    for hook in hooks:
        hook.remove()
    return net


def _fill_bias(conv: nn.Conv2d, value: float) -> None:
    if conv.bias is not None:
        conv.bias.fill_(value)


def _mix_identity(weight: Tensor) -> None:
    """Add the identity to a dense 3x3 kernel (C, C, 3, 3); others are left as they are."""
    channels, *rest = weight.shape
    # The identity exists between equal widths alone.
    if rest != [channels, 3, 3]:
        return
    # Squared norms: a tenth of `channels` for the drawn kernel, nine tenths for the identity.
    weight.mul_(math.sqrt(channels * (1 - IDENTITY)) / weight.norm())
    weight[:, :, 1, 1] += math.sqrt(IDENTITY) * torch.eye(channels)


def _scale_to(size: float) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    """Return a hook that scales a convolution to outputs of some standard deviation.

    What runs after the convolution sees the scaled output already.
    """

    def hook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        std = output.std().item()
        if std < SMALLEST:
            return output
        assert isinstance(module, nn.Conv2d)
        module.weight.mul_(size / std)
        bias = 0.0 if module.bias is None else module.bias.view(1, -1, 1, 1)
        return (output - bias) * (size / std) + bias

    return hook
