"""The selective scan as it is defined, a token at a time, and random operands for it."""

import torch
from torch import Tensor
from torch.nn import functional as F


def token_loop(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """What `selective_scan` must give, by autograd's own means."""
    state = u.new_zeros(u.shape[0], *A.shape)
    y = []
    for t in range(u.shape[1]):
        driven = (delta[:, t] * u[:, t])[..., None] * B[:, t, None]
        state = torch.exp(delta[:, t, :, None] * A) * state + driven
        y.append((state * C[:, t, None]).sum(-1) + D * u[:, t])
    return torch.stack(y, 1)


def operands(
    batch: int, length: int, channels: int, d_state: int, *, decay: float = 1.0, seed: int = 0
) -> tuple[Tensor, ...]:
    """u, delta, A, B, C and D in float64; decay: how large the exponents are."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    delta = F.softplus(normal(batch, length, channels) - 2)
    A = -decay * torch.arange(1, d_state + 1, dtype=torch.float64).repeat(channels, 1)
    B, C = normal(batch, length, d_state), normal(batch, length, d_state)
    return normal(batch, length, channels), delta, A, B, C, normal(channels)
