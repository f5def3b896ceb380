"""LoRA, the training form of DSCF: a k x k convolution and a low-rank change of it."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.reparam.base import Kernel, RepConv2d, own
from search_spaces.reparam.checks import check_count, check_flag, check_positive


class LoRA(RepConv2d):
    """W + alpha / rank * reshape(B A): a k x k kernel from a to b channels, changed at low rank.

    A is (rank*k) x (a*k), B is (b*k) x (rank*k).

    B A is read row by row as (b, a, k, k). A starts as PyTorch starts a linear layer, B at zero, so
    the layer starts as W.

    Args:
        frozen: W and the bias are held and not trained, as for a fine-tuning; from scratch they
            have to be.

    Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022, as its library
    does it for convolutions; Chai et al., Distillation-Supervised Convolutional Low-Rank Adaptation
    for Efficient Image Super-Resolution, 2025 (DSCF).
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        kernel: int,
        bias: bool,
        rank: int,
        alpha: float,
        frozen: bool,
    ) -> None:
        super().__init__(in_channels, channels, kernel=kernel, bias=bias)

        # As in the library of the source, a rank of r gives factors of r * k rows.
        inner = check_count("lora.rank", rank) * kernel
        self.factor = check_positive("lora.alpha", alpha) / rank

        self.conv = nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2, bias=bias)
        self.conv.requires_grad_(not check_flag("lora.frozen", frozen))
        self.lora_a = nn.Parameter(torch.empty(inner, in_channels * kernel))
        self.lora_b = nn.Parameter(torch.zeros(channels * kernel, inner))

        # With B at zero, A may start at random: the change is zero until B learns.
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))

    def kernels(self) -> list[Kernel]:
        return [own(self.conv), Kernel(self._compute_change(), None)]

    def branches(self, x: Tensor) -> Tensor:
        # The change is a kernel, so it runs as a convolution beside the first.
        out: Tensor = self.conv(x)
        return out + F.conv2d(x, self._compute_change(), padding=self.padding)

    def _compute_change(self) -> Tensor:
        return self.factor * (self.lora_b @ self.lora_a).view(self.shape)
