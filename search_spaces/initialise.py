"""How a network starts: features of unit size everywhere, whatever its depth and its gates."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.blocks.attention import LearnedDiagonal, LearnedPointwise
from search_spaces.network import Network, build
from search_spaces.spec import ArchSpec

GATED = (LearnedPointwise, LearnedDiagonal)
GATE_SIZE, GATE_BIAS = 0.05, 0.7  # 0.7 (x + f) has the size of x and f
SMALLEST = 1e-8  # a feature map below this is left as it is


def initial_network(spec: ArchSpec, seed: int, images: Tensor, *, zero_output: bool = True) -> Network:
    """A network at its start: features of unit size in every convolution.

    PyTorch's initialisation first; then, in the order in which they run, every convolution but the
    upsampler and the near-pixel branch is scaled to a standard deviation of one on some images. PyTorch's
    start alone keeps the image's size, 255, and leaves the sigmoid of parameter-free gates flat. A learned
    gate starts at a constant, its block as a plain residual one: a product of features in each of six blocks
    is a polynomial of degree 64, which explodes.

    Source: Mishkin and Matas, All you need is a good init (LSUV), ICLR 2016, without its orthogonal start.

    Args:
        spec: for a training of residuals without a fixed skip branch, which the base stands in for.
        seed: of PyTorch's initialisation; the global generator is left as it was.
        images: (N, 3, H, W) in [0, 1].
        zero_output: the upsampler is zero, as a residual starts, instead of PyTorch's.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = build(spec)
    left = {net.upsampler.conv, net.skip}
    scaled = [m for m in net.modules() if isinstance(m, nn.Conv2d) and m not in left]
    gates = {m for part in net.modules() if isinstance(part, GATED) for m in part.modules()}
    hooks = [m.register_forward_hook(_scale_to(GATE_SIZE if m in gates else 1.0)) for m in scaled]
    with torch.no_grad():
        for parameter in net.upsampler.parameters() if zero_output else ():
            parameter.zero_()
        for module in scaled:
            if module.bias is not None:
                module.bias.fill_(GATE_BIAS if module in gates else 0.0)
        net(images)
    for hook in hooks:
        hook.remove()
    return net


def _scale_to(size: float) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    """Scale a convolution by what it gives; what runs after it sees the scaled output already."""

    def hook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        found = output.std().item()
        if found < SMALLEST:
            return output
        assert isinstance(module, nn.Conv2d)
        module.weight.mul_(size / found)
        bias = 0.0 if module.bias is None else module.bias.view(1, -1, 1, 1)
        return (output - bias) * (size / found) + bias

    return hook
