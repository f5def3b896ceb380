"""A learned number a channel."""

import torch
from torch import Tensor, nn


class ChannelScale(nn.Module):
    """Each channel of (N, C, H, W) times a learned number, one at the start."""

    def __init__(self, channels: int, *, start: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1, channels, 1, 1), start))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x
