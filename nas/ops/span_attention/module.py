"""Fused twins of two blocks of search_spaces.layers.attention: the same state dict, one operator a call."""

from torch import Tensor, nn

from nas.ops.span_attention.op import parameter_free_attention, span_attention


class FusedLearnedPointwise(nn.Module):
    """LearnedPointwise, (x + f) * (W f + b), as one operator."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, f: Tensor) -> Tensor:
        bias = self.conv.bias
        assert bias is not None
        return span_attention(x, f, self.conv.weight, bias)


class FusedParameterFree(nn.Module):
    """ParameterFree, (x + f) * (sigmoid(f) - 0.5), as one operator."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, f: Tensor) -> Tensor:
        return parameter_free_attention(x, f)
