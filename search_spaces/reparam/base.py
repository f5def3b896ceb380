"""The base of all training forms: branches are held, one kernel is computed."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Kernel(NamedTuple):
    """What a convolution computes: weight (out, in, height, width), and bias (out,) or None."""

    weight: Tensor
    bias: Tensor | None


class RepConv2d(nn.Module, ABC):
    """A dense convolution whose one kernel is computed from training branches.

    The image is padded with zeros before the first layer of every branch, so one k x k kernel is
    the same function, borders included. Each step merges the branches once and runs that kernel;
    autograd takes the gradient back to the branches. Parameters start as PyTorch starts them,
    unless a form says otherwise.

    Attributes:
        conv: the k x k branch, which every form has; it takes what `from_plain` has to add.
        shape: of the merged weight, (channels, in_channels, k, k).
        has_bias: whether there is a merged bias.
    """

    conv: nn.Conv2d

    def __init__(self, in_channels: int, channels: int, *, kernel: int, bias: bool) -> None:
        super().__init__()
        self.shape = (channels, in_channels, kernel, kernel)
        self.has_bias = bias
        self.padding = kernel // 2

    @abstractmethod
    def kernels(self) -> list[Kernel]:
        """Return a kernel of odd height and width up to k for each of the parallel branches."""

    @abstractmethod
    def branches(self, x: Tensor) -> Tensor:
        """Return the layer's output with its branches run one by one, to check `forward`."""

    def merged(self) -> Kernel:
        """Return the kernel (channels, in_channels, k, k) and the bias (channels,) or None."""
        # A 1x1 or 1 x k kernel is a k x k one with zeros around it.
        kernels = self.kernels()
        weights = [centred(kernel.weight, self.shape[-1]) for kernel in kernels]
        biases = [kernel.bias for kernel in kernels if kernel.bias is not None]
        return Kernel(_sum_terms(weights), _sum_terms(biases) if biases else None)

    def forward(self, x: Tensor) -> Tensor:
        # Merging costs some products of small matrices, running the branches as many convolutions.
        weight, bias = self.merged()
        return F.conv2d(x, weight, bias, padding=self.padding)

    @torch.no_grad()
    def from_plain(self, weight: Tensor, bias: Tensor | None) -> None:
        """Change the branches so that they merge to a given convolution.

        Those around the k x k branch stay; it takes the difference, and one bias that of the
        biases.

        Args:
            weight: (channels, in_channels, k, k).
            bias: (channels,); None where the branches have no biases.
        Raises:
            ValueError: the shapes are not this layer's.
        """
        # A kernel of another shape would be broadcast without a word.
        given = tuple(weight.shape), None if bias is None else tuple(bias.shape)
        expected = self.shape, self.shape[:1] if self.has_bias else None
        if given != expected:
            raise ValueError(
                f"a {type(self).__name__} of weight and bias {expected} cannot hold {given}"
            )

        self.prepare()
        for _ in range(2):  # the second time for what the first rounds off
            own = self.merged().weight
            self.add_weight(weight.to(own) - own)

        # After the weights: a branch's weight carries the biases of those before it.
        own_bias = self.merged().bias
        if bias is not None and own_bias is not None:
            self.add_bias(bias.to(own_bias) - own_bias)

    def prepare(self) -> None:
        """Bring the other branches to where any kernel can be added in the k x k one."""

    def add_weight(self, weight: Tensor) -> None:
        """Change the k x k branch so that the merged weight changes by this.

        Args:
            weight: (channels, in_channels, k, k).
        """
        self.conv.weight += weight

    def add_bias(self, bias: Tensor) -> None:
        """Change one branch so that the merged bias changes by (channels,)."""
        assert self.conv.bias is not None
        self.conv.bias += bias


def rep_convs(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, RepConv2d]]:
    """Yield the convolutions of a network in a training form, by name; not what a form holds."""
    for name, child in module.named_children():
        if isinstance(child, RepConv2d):
            yield prefix + name, child
        else:
            yield from rep_convs(child, f"{prefix}{name}.")


def own(conv: nn.Conv2d) -> Kernel:
    """Return the kernel of a plain convolution."""
    return Kernel(conv.weight, conv.bias)


def identity(like: nn.Conv2d) -> Kernel:
    """Return the 1x1 kernel that gives its input, for as many channels as a convolution gives."""
    eye = torch.eye(like.out_channels, dtype=like.weight.dtype, device=like.weight.device)
    return Kernel(eye[:, :, None, None], None)


def after(kernel: Kernel, first: Kernel) -> Kernel:
    """Return one kernel for a 1x1 convolution and then a k x k one.

    The image is padded before the 1x1: its bias is in the padding.
    """
    # A 1x1 mixes channels at each pixel, so merging is a product over the channels between both.
    weight = torch.einsum("oqhw,qi->oihw", kernel.weight, first.weight.flatten(1))
    if kernel.bias is None or first.bias is None:
        return Kernel(weight, kernel.bias)
    return Kernel(weight, kernel.weight.sum((2, 3)) @ first.bias + kernel.bias)


def before(kernel: Kernel, last: Kernel) -> Kernel:
    """Return one kernel for a k x k convolution and then a 1x1 one."""
    # A 1x1 after the kernel mixes its outputs: one product over them.
    mix = last.weight.flatten(1)
    weight = torch.tensordot(mix, kernel.weight, dims=1)
    if kernel.bias is None or last.bias is None:
        return Kernel(weight, last.bias)
    return Kernel(weight, mix @ kernel.bias + last.bias)


def centred(weight: Tensor, size: int) -> Tensor:
    """Return a kernel of odd height and width within zeros, (out, in, size, size)."""
    down, across = (size - weight.shape[2]) // 2, (size - weight.shape[3]) // 2
    return F.pad(weight, [across, across, down, down]) if down or across else weight


def _sum_terms(terms: list[Tensor]) -> Tensor:
    return functools.reduce(torch.add, terms)
