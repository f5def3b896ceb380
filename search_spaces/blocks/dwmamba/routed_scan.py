"""A selective scan that reads the pixels of an image class by class instead of row by row."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.layers.conv import depthwise_conv, pointwise_conv
from search_spaces.layers.mamba import initial_decay, initial_step_bias
from search_spaces.layers.selective_scan import selective_scan
from search_spaces.layers.tracing import is_traced


class RoutedScan(nn.Module):
    """Tokens are put into classes, sorted by them, scanned in one direction, and put back.

    Each class adds a learned prompt to what its tokens read the states of the scan with. Tokens of
    one class stay in reading order (the released code sorts without keeping it, which differs
    between devices). A token's class is a hard choice: while training it is drawn (Gumbel-softmax,
    temperature 1), and its gradient is that of the soft one; in evaluation it is the most probable
    one, or with `noise` drawn too, as the released code has it, whose output differs from call to
    call.

    Args:
        guide: channels of the map that helps to choose the classes and to weigh the tokens.
        inner: channels of the scan.
        d_state: states of each of them.
        num_classes: of tokens.
        rank: of the prompts of all classes, and width of the layer that chooses the class.

    Source: DWMamba (WMESR), NTIRE 2026 Efficient SR, after Guo et al., MambaIRv2, CVPR 2025.
    """

    def __init__(
        self,
        channels: int,
        *,
        guide: int,
        inner: int,
        d_state: int,
        num_classes: int,
        rank: int,
        noise: bool,
    ) -> None:
        super().__init__()
        self.noise, self.sizes = noise, (math.ceil(inner / 16), d_state, d_state)

        # The choice of a class: from the token and from a gated view of the guide.
        self.guide_depthwise = depthwise_conv(guide, kernel=3, bias=True)
        self.guide_pointwise = pointwise_conv(guide, channels, bias=True)
        self.guide_gate = nn.Parameter(torch.zeros(channels))
        self.route = nn.Sequential(
            nn.Linear(2 * channels, rank), nn.GELU(), nn.Linear(rank, num_classes)
        )

        # A prompt a class, of low rank: classes x rank times rank x states.
        self.class_prompts = nn.Parameter(
            torch.empty(num_classes, rank).uniform_(-1, 1) / num_classes
        )
        self.state_prompts = nn.Parameter(torch.empty(rank, d_state).uniform_(-1, 1) / rank)

        # The scan's input, with positions, since sorting loses them.
        self.in_proj = pointwise_conv(channels, inner, bias=True)
        self.position = depthwise_conv(inner, kernel=3, bias=True)
        self.position_guide = pointwise_conv(guide, inner, bias=True)
        self.position_gate = nn.Parameter(torch.zeros(1, inner, 1, 1))

        # The scan. As in Mamba, but with a leading axis as the released weights have it.
        bound = self.sizes[0] ** -0.5

        # One matrix for each direction of scanning, of which there is one.
        self.x_proj = nn.Parameter(torch.empty(1, sum(self.sizes), inner))
        self.dt_weight = nn.Parameter(torch.empty(1, inner, self.sizes[0]).uniform_(-bound, bound))
        self.dt_bias = nn.Parameter(initial_step_bias(inner)[None])
        self.A_log, self.D = (
            nn.Parameter(initial_decay(inner, d_state)),
            nn.Parameter(torch.ones(inner)),
        )

        self.out_norm, self.out_proj = nn.LayerNorm(inner), nn.Linear(inner, channels)
        nn.init.kaiming_uniform_(self.x_proj[0], a=math.sqrt(5))  # PyTorch's, as of a linear layer

    def forward(self, tokens: Tensor, guide: Tensor) -> Tensor:
        """Tokens (N, H * W, channels), row by row, and a guide (N, guide, H, W) to such tokens."""
        chosen = self._choose_classes(tokens, guide)
        prompt = chosen @ (self.class_prompts @ self.state_prompts)

        # Stable: tokens of one class stay in reading order.
        order = chosen.argmax(-1).argsort(dim=-1, stable=True)
        z = self.in_proj(tokens.transpose(1, 2).reshape(len(tokens), -1, *guide.shape[2:]))
        z = z * torch.sigmoid(self.position(z) + self.position_guide(guide) * self.position_gate)

        y = self._scan_tokens(
            _reorder_tokens(z.flatten(2).transpose(1, 2), order), _reorder_tokens(prompt, order)
        )
        return _reorder_tokens(self.out_proj(self.out_norm(y)), order.argsort(dim=-1))

    def _choose_classes(self, tokens: Tensor, guide: Tensor) -> Tensor:
        """Return the class of each token, (N, H * W, num_classes): one of them 1, the others 0."""
        seen = self.guide_pointwise(F.silu(self.guide_depthwise(guide))).flatten(2).transpose(1, 2)
        scores = self.route(torch.cat([tokens, seen * self.guide_gate], -1)).log_softmax(-1)
        if self.noise or self.training:
            # Minus the logarithm of an exponential draw is Gumbel noise.
            scores = scores - torch.empty_like(scores).exponential_().log()

        soft = scores.softmax(-1)
        hard = torch.zeros_like(soft).scatter_(-1, scores.argmax(-1, keepdim=True), 1.0)
        trained = soft.requires_grad and not is_traced()  # a trace holds no gradients
        return hard + (soft - soft.detach()) if trained else hard

    def _scan_tokens(self, tokens: Tensor, prompt: Tensor) -> Tensor:
        step, B, C = torch.split_with_sizes(F.linear(tokens, self.x_proj[0]), self.sizes, dim=-1)
        delta = F.softplus(F.linear(step, self.dt_weight[0], self.dt_bias[0]))
        return selective_scan(tokens, delta, -torch.exp(self.A_log), B, C + prompt, self.D)


def _reorder_tokens(tokens: Tensor, order: Tensor) -> Tensor:
    """Return tokens (N, length, n) in another order, (N, length)."""
    return tokens.gather(1, order[..., None].expand_as(tokens))
