"""Fused twins of two attentions of search_spaces: the same state dict, one operator a call."""

from typing import Any

from torch import Tensor, nn

from nas.ops.prepared import Prepared, describe_layout
from nas.ops.rules import is_bare
from nas.ops.span_attention.op import parameter_free_attention, prepare, span_attention


class FusedLearnedPointwise(nn.Module):
    """LearnedPointwise, (x + f) * (W f + b), as one operator."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
        self._launches = Prepared()

    def forward(self, x: Tensor, f: Tensor) -> Tensor:
        key = self._make_key(x, f) if is_bare(x) else None
        out = self._launches.repeat(key, x, f)
        if out is None:
            weight, bias = self.conv.weight, self.conv.bias
            assert bias is not None
            out = span_attention(x, f, weight, bias)
            self._launches.keep(key, lambda: prepare("span_attention", x, f, weight, bias))
        return out

    def _make_key(self, x: Tensor, f: Tensor) -> tuple[Any, ...] | None:
        """Return the key of a prepared launch on these maps.

        None: a weight is computed at each call, as of a parametrization, so nothing is prepared.
        """
        # Past nn.Module's search by name, which takes longer than a launch.
        conv = self._modules["conv"]
        assert conv is not None
        weight, bias = conv._parameters.get("weight"), conv._parameters.get("bias")
        return (
            describe_layout(x, f, weight, bias) if weight is not None and bias is not None else None
        )


class FusedParameterFree(nn.Module):
    """ParameterFree, (x + f) * (sigmoid(f) - 0.5), as one operator."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self._launches = Prepared()

    def forward(self, x: Tensor, f: Tensor) -> Tensor:
        key = describe_layout(x, f, None, None) if is_bare(x) else None
        out = self._launches.repeat(key, x, f)
        if out is None:
            out = parameter_free_attention(x, f)
            self._launches.keep(key, lambda: prepare("parameter_free_attention", x, f))
        return out
