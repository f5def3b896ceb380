"""Fused twins of convolutions and of blocks made of them: the same parameters and state dict."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from nas.ops.conv_act.op import conv_act, prepare
from nas.ops.conv_act.reference import GATED
from nas.ops.prepared import Prepared, describe_layout, pointer
from nas.ops.products import convolution_products
from nas.ops.rules import is_bare
from search_spaces.blocks.conv import ConvStack
from search_spaces.blocks.spab import SPAB


class ConvAct(nn.Conv2d):
    """A dense convolution that keeps height and width, then an epilogue of `conv_act`.

    It is an `nn.Conv2d` of the same state dict; on CUDA its weight is channels_last, as the kernel
    reads it.

    Args:
        conv: the plain convolution; its parameters are taken, not copied.
        epilogue: what follows, one of `EPILOGUES`.
    Example:
        >>> layer = ConvAct(nn.Conv2d(3, 8, 3, padding=1), "relu")
        >>> layer(torch.rand(1, 3, 5, 6)).shape
        torch.Size([1, 8, 5, 6])
    """

    def __init__(self, conv: nn.Conv2d, epilogue: str) -> None:
        channels, size = (conv.in_channels, conv.out_channels), conv.kernel_size[0]
        super().__init__(
            *channels, size, padding=size // 2, bias=conv.bias is not None, device="meta"
        )
        # Its own parameters, made on `meta`, are dropped for those of the plain convolution.
        self.weight, self.bias = conv.weight, conv.bias
        self.epilogue = epilogue
        self._launches = Prepared()
        self.train(conv.training)
        self._lay_out_weight()

    def forward(
        self, x: Tensor, skip: Tensor | None = None, gate: nn.Conv2d | None = None
    ) -> Tensor:
        """Compute (N, C, H, W) from (N, Cin, H, W).

        Args:
            skip: (N, C, H, W), for an attention alone.
            gate: the gate's convolution, for an attention that has one.
        """
        key = self._make_key(x, skip, gate) if is_bare(x) else None
        out = self._launches.repeat(key, x, skip)
        if out is not None:
            return out

        # The first call on such operands goes through the dispatcher, and prepares the next ones.
        gate_weight, gate_bias = (None, None) if gate is None else (gate.weight, gate.bias)
        operands = (x, self.weight, self.bias, self.epilogue, skip, gate_weight, gate_bias)
        out = conv_act(*operands)
        self._launches.keep(key, lambda: prepare(*operands))
        return out

    def _make_key(
        self, x: Tensor, skip: Tensor | None, gate: nn.Conv2d | None
    ) -> tuple[Any, ...] | None:
        """Return the key of a prepared launch on these operands.

        None: a parameter is computed at each call, as of a parametrization, so nothing is prepared.
        """
        parameters = self._parameters  # past nn.Module's search by name, which costs host time
        weight = parameters.get("weight")
        if weight is None or "bias" not in parameters:
            return None
        key = describe_layout(x, skip, weight, parameters["bias"])
        if weight.dtype is torch.float32:
            key = (*key, convolution_products())
        if gate is None:
            return key

        # A launch holds the gate's weights too, by their addresses.
        parameters = gate._parameters
        gate_weight = parameters.get("weight")
        if gate_weight is None or "bias" not in parameters:
            return None
        bias = pointer(parameters["bias"])
        return (*key, gate_weight.data_ptr(), gate_weight.stride(), bias)

    def extra_repr(self) -> str:
        usual: str = super().extra_repr()  # type: ignore[no-untyped-call]
        return f"{usual}, epilogue={self.epilogue}"

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        # Moving or casting makes other tensors, whose addresses no prepared launch has.
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._lay_out_weight()
        self._launches.clear()
        return self

    def _lay_out_weight(self) -> None:
        """Make the weight channels_last where it is on CUDA, so that no launch has to copy it."""
        if self.weight.is_cuda:
            self.weight.data = self.weight.data.contiguous(memory_format=torch.channels_last)


class FusedConvStack(nn.Module):
    """Twin of `ConvStack`."""

    def __init__(self, block: ConvStack) -> None:
        super().__init__()
        self.conv1 = ConvAct(_require_conv(block.conv1), block.activation)
        self.conv2 = ConvAct(_require_conv(block.conv2), block.activation)
        self.conv3 = ConvAct(
            _require_conv(block.conv3), block.activation if block.activate_last else "none"
        )
        self.train(block.training)

    def forward_with_inner(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, channels, H, W) and the first activated convolution, alike."""
        inner: Tensor = self.conv1(x)
        return self.conv3(self.conv2(inner)), inner

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_with_inner(x)[0]


class FusedSPAB(nn.Module):
    """Twin of `SPAB`.

    Args:
        block: its parameters are taken, not copied.
        attention: the twin of the block's attention, called with the block's input and features; or
            the block's own, whose parameters the third convolution reads where `epilogue` names it.
        epilogue: the attention as an epilogue of the third convolution; `none`: `attention` is
            called.
    """

    def __init__(self, block: SPAB, attention: nn.Module, epilogue: str) -> None:
        super().__init__()
        self.conv1 = ConvAct(_require_conv(block.conv1), block.activation)
        self.conv2 = ConvAct(_require_conv(block.conv2), block.activation)
        self.conv3 = ConvAct(_require_conv(block.conv3), epilogue)
        self.attention = attention
        shortcut = block.shortcut
        self.shortcut = ConvAct(shortcut, "none") if isinstance(shortcut, nn.Conv2d) else shortcut
        self.train(block.training)

    def forward_with_inner(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, channels, H, W) and the first activated convolution, alike."""
        inner: Tensor = self.conv1(x)
        features, epilogue = self.conv2(inner), self.conv3.epilogue
        if epilogue == "none":
            return self.attention(self.shortcut(x), self.conv3(features)), inner
        # The attention's parameters stay in its module, so that the state dict has its keys.
        gate = self.attention.conv if epilogue in GATED else None
        return self.conv3(features, self.shortcut(x), gate), inner

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_with_inner(x)[0]


def why_plain(conv: nn.Conv2d) -> str | None:
    """Return why a convolution cannot become a `ConvAct`; None: it can."""
    if conv.groups != 1:
        return f"a convolution in {conv.groups} groups has no kernel"

    size, height = conv.kernel_size[0], conv.kernel_size[1]
    same = size == height and size % 2 == 1 and conv.padding == (size // 2, size // 2)
    if not same or conv.stride != (1, 1) or conv.dilation != (1, 1) or conv.padding_mode != "zeros":
        return "only square odd kernels, zero padded to keep height and width, have a kernel"
    return None


def _require_conv(module: nn.Module) -> nn.Conv2d:
    assert isinstance(module, nn.Conv2d)  # training forms were refused before
    return module
