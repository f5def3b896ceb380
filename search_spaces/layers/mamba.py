"""The mixer of Mamba: what a token gives depends on the tokens before it, by a selective scan."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.layers.selective_scan import selective_scan

SHORTEST_STEP, LONGEST_STEP, STEP_FLOOR = 1e-3, 1e-1, 1e-4


class Mamba(nn.Module):
    """Mamba-1: a gated selective scan over tokens (batch, length, channels) of the same shape.

    [a, z] = W_in t; a = silu(causal depthwise convolution of a); [step, B, C] = W_x a;
    y = scan(a, softplus(W_step step + b), -exp(A_log), B, C, D); W_out (y * silu(z)).

    Args:
        d_state: states of each channel of the scan.
        expand: the scan has expand * channels channels.
        kernel: of the convolution: a token and those before it.
        rank: of the matrix that makes the steps; None: channels / 16, rounded up, as published.

    Names and start of the parameters are those of the package mamba_ssm.

    Source: Gu and Dao, Mamba: Linear-Time Sequence Modeling with Selective State Spaces, 2023.
    """

    def __init__(
        self,
        channels: int,
        *,
        d_state: int = 16,
        expand: int = 2,
        kernel: int = 4,
        rank: int | None = None,
    ) -> None:
        super().__init__()
        rank = math.ceil(channels / 16) if rank is None else rank
        for name, value in (
            ("d_state", d_state),
            ("expand", expand),
            ("kernel", kernel),
            ("rank", rank),
        ):
            if value < 1:
                raise ValueError(f"mamba.{name} must be at least 1, got {value}; see its defaults")

        # The names from here on are those of mamba_ssm, as released weights have them.
        inner = expand * channels
        self.sizes = (rank, d_state, d_state)
        self.in_proj = nn.Linear(channels, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, kernel, groups=inner)
        self.x_proj = nn.Linear(inner, sum(self.sizes), bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        self.A_log = nn.Parameter(initial_decay(inner, d_state))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, channels, bias=False)

        # Steps begin log-uniform from 1e-3 to 1e-1, as published.
        with torch.no_grad():
            self.dt_proj.weight.uniform_(-(rank**-0.5), rank**-0.5)
            self.dt_proj.bias.copy_(initial_step_bias(inner))

    def forward(self, tokens: Tensor) -> Tensor:
        a, z = self.in_proj(tokens).chunk(2, dim=-1)
        # Causal: a token sees itself and those before it.
        before = self.conv1d.kernel_size[0] - 1
        a = F.silu(self.conv1d(F.pad(a.transpose(1, 2), (before, 0)))).transpose(1, 2)
        step, B, C = self.x_proj(a).split(self.sizes, dim=-1)
        # Decays are negative whatever is learned: A = -exp(A_log).
        y = selective_scan(a, F.softplus(self.dt_proj(step)), -torch.exp(self.A_log), B, C, self.D)
        out: Tensor = self.out_proj(y * F.silu(z))
        return out


def initial_decay(channels: int, d_state: int) -> Tensor:
    """Return logarithms of the decays at the start, (channels, d_state): log 1, log 2, ..."""
    return torch.arange(1, d_state + 1, dtype=torch.get_default_dtype()).log().repeat(channels, 1)


def initial_step_bias(channels: int) -> Tensor:
    """Return biases, (channels,), of which softplus makes steps log-uniform from 1e-3 to 1e-1."""
    low, high = math.log(SHORTEST_STEP), math.log(LONGEST_STEP)
    step = torch.exp(low + (high - low) * torch.rand(channels)).clamp(min=STEP_FLOOR)
    # The inverse of softplus.
    return step + torch.log(-torch.expm1(-step))
