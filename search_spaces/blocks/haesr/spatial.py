"""Attention over sets of pixels, with maps of its own or with those of a block before."""

from torch import Tensor, nn

from search_spaces.blocks.haesr.tokens import GridTokens, LocalTokens
from search_spaces.layers.feed_forward import GatedFeedForward
from search_spaces.layers.norm import ChannelLayerNorm

EPS = 1e-6
Tokens = LocalTokens | GridTokens


class OwnMaps(nn.Module):
    """W_out(M v), M = softmax(q k^T / sqrt(C) + bias): one head; linear layers have no biases."""

    def __init__(self, channels: int, tokens: Tokens) -> None:
        super().__init__()
        self.tokens, self.scale = tokens, channels**-0.5
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_kv = nn.Linear(channels, 2 * channels, bias=False)
        self.bias = tokens.make_bias()
        self.to_out = nn.Linear(channels, channels, bias=False)

    def forward(self, x: Tensor, maps: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return features like x, (N, C, H, W), and M, (sets, 64, keys); maps are not used."""
        q = self.to_q(self.tokens.queries(x))
        k, v = self.to_kv(self.tokens.keys(x)).chunk(2, 2)
        # Maps are handed on after the softmax: SHABs need no queries, keys or bias.
        maps = (self.scale * (q @ k.mT) + self.bias()).softmax(2)
        return self.tokens.image(self.to_out(maps @ v), x.shape), maps


class SharedMaps(nn.Module):
    """W_out(M v) with given maps M; linear layers without biases."""

    def __init__(self, channels: int, tokens: Tokens) -> None:
        super().__init__()
        self.tokens = tokens
        self.to_v = nn.Linear(channels, channels, bias=False)
        self.to_out = nn.Linear(channels, channels, bias=False)

    def forward(self, x: Tensor, maps: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return features of the shape of x, (N, C, H, W), and the maps as they were given."""
        assert maps is not None
        # Keys are gathered before the linear layer, as published: it counts each of them.
        v = self.to_v(self.tokens.keys(x))
        return self.tokens.image(self.to_out(maps @ v), x.shape), maps


class SpatialBlock(nn.Module):
    """x <- x + attention(LN(x)), then x <- x + GFN(LN(x)).

    Args:
        shared: the maps are given, not made.
    """

    def __init__(self, channels: int, tokens: Tokens, *, shared: bool) -> None:
        super().__init__()
        self.norm1 = ChannelLayerNorm(channels, eps=EPS)
        self.attention = (SharedMaps if shared else OwnMaps)(channels, tokens)
        self.norm2 = ChannelLayerNorm(channels, eps=EPS)
        self.feed_forward = GatedFeedForward(channels, expansion=1)

    def forward(self, x: Tensor, maps: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return features of the shape of x, (N, C, H, W), and the maps that were used."""
        attended, used = self.attention(self.norm1(x), maps)
        # Both steps are residual, over their normed input.
        x = x + attended
        return x + self.feed_forward(self.norm2(x)), used
