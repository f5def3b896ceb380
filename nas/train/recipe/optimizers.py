"""The optimizers of a stage: Adam and AdamW, and Muon for hidden convolutions beside AdamW."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from nas.train.muadamw import Muon, hidden_kernels


class OptimizerConfig(Protocol):
    """Makes the optimizers of a stage; each group's `lr` is its peak rate."""

    def make(self, net: nn.Module, *, rate: float) -> list[torch.optim.Optimizer]:
        """Return optimizers that train all parameters that need a gradient, each in one of them.

        Args:
            rate: factor of every learning rate.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Adam:
    """Adam, with L2 regularisation where there is a decay.

    Source: Kingma and Ba, Adam, ICLR 2015.
    """

    lr: float
    betas: tuple[float, float]
    decay: float

    def __post_init__(self) -> None:
        _check_rates(self.lr, self.betas, self.decay)

    def make(self, net: nn.Module, *, rate: float) -> list[torch.optim.Optimizer]:
        optimizer = torch.optim.Adam(
            list_trained(net),
            lr=self.lr * rate,
            betas=self.betas,
            weight_decay=self.decay,
            fused=True,
        )
        return [optimizer]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdamW:
    """Adam whose weight decay is no part of the gradient.

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019.
    """

    lr: float
    betas: tuple[float, float]
    decay: float

    def __post_init__(self) -> None:
        _check_rates(self.lr, self.betas, self.decay)

    def make(self, net: nn.Module, *, rate: float) -> list[torch.optim.Optimizer]:
        return [_make_adamw(list_trained(net), self, rate)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MuAdamW:
    """Muon for the hidden convolutions, AdamW for all other parameters.

    Attributes:
        lr, betas, decay: of AdamW.
        muon_lr, momentum, muon_decay: of Muon, whose rate is a step in spectral norm.
    """

    lr: float
    betas: tuple[float, float]
    decay: float
    muon_lr: float
    momentum: float
    muon_decay: float

    def __post_init__(self) -> None:
        _check_rates(self.lr, self.betas, self.decay)
        if not self.muon_lr > 0:
            raise ValueError(f"muon_lr must be above 0, got {self.muon_lr:g}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, got {self.momentum:g}")

    def make(self, net: nn.Module, *, rate: float) -> list[torch.optim.Optimizer]:
        kernels = [kernel for kernel in hidden_kernels(net) if kernel.requires_grad]
        # By identity: two weights of equal values are two weights.
        kernel_ids = {id(kernel) for kernel in kernels}
        rest = [weight for weight in list_trained(net) if id(weight) not in kernel_ids]

        optimizers = [_make_adamw(rest, self, rate)] if rest else []
        if kernels:
            muon = Muon(
                kernels, lr=self.muon_lr * rate, momentum=self.momentum, decay=self.muon_decay
            )
            optimizers.append(muon)
        return optimizers


def list_trained(net: nn.Module) -> list[Tensor]:
    """List the parameters that are not frozen."""
    return [weight for weight in net.parameters() if weight.requires_grad]


def _make_adamw(
    weights: list[Tensor], config: AdamW | MuAdamW, rate: float
) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        weights, lr=config.lr * rate, betas=config.betas, weight_decay=config.decay, fused=True
    )


def _check_rates(lr: float, betas: tuple[float, float], decay: float) -> None:
    if not lr > 0:
        raise ValueError(f"lr must be above 0, got {lr:g}")
    if not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas must be at least 0 and below 1, got {list(betas)}")
    if not decay >= 0:
        raise ValueError(f"decay must be at least 0, got {decay:g}")
