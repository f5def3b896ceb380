"""The optimizers of a stage: Adam and AdamW, and Muon for hidden convolutions beside AdamW."""

from dataclasses import dataclass
from typing import Any, Protocol

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

    Attributes:
        relative: whether the rate of a kernel follows its size at the start of the stage, see
            `measure_size`.

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019.
    """

    lr: float
    betas: tuple[float, float]
    decay: float
    relative: bool

    def __post_init__(self) -> None:
        _check_rates(self.lr, self.betas, self.decay)

    def make(self, net: nn.Module, *, rate: float) -> list[torch.optim.Optimizer]:
        return [_make_adamw(list_trained(net), self, rate)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MuAdamW:
    """Muon for the hidden convolutions, AdamW for all other parameters.

    Attributes:
        lr, betas, decay, relative: of AdamW.
        muon_lr, momentum, muon_decay: of Muon, whose rate is a step in spectral norm.
    """

    lr: float
    betas: tuple[float, float]
    decay: float
    relative: bool
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


def measure_size(kernel: Tensor) -> float:
    """Return the size of a kernel over that of a fresh one of PyTorch, at most 1.

    A step of Adam changes every weight by about the learning rate. In the stem of a network that
    reads pixels from 0 to 255 weights are a fortieth of their usual size: such a step would change
    its features by a seventh. Biases and kernels of zeros count as 1.

    Args:
        kernel: (out, in, height, width).
    """
    size = kernel.detach().square().mean().sqrt().item()
    if kernel.ndim < 2 or size == 0:
        return 1.0
    # PyTorch draws from -1/sqrt(n) to 1/sqrt(n), for n inputs of a convolution.
    fresh: float = (1 / (3 * kernel[0].numel())) ** 0.5
    return min(1.0, size / fresh)


def _make_adamw(
    weights: list[Tensor], config: AdamW | MuAdamW, rate: float
) -> torch.optim.Optimizer:
    lr = config.lr * rate
    groups: list[dict[str, Any]] = [{"params": weights}]
    if config.relative:
        groups = [{"params": [weight], "lr": lr * measure_size(weight)} for weight in weights]
    return torch.optim.AdamW(
        groups, lr=lr, betas=config.betas, weight_decay=config.decay, fused=True
    )


def _check_rates(lr: float, betas: tuple[float, float], decay: float) -> None:
    if not lr > 0:
        raise ValueError(f"lr must be above 0, got {lr:g}")
    if not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas must be at least 0 and below 1, got {list(betas)}")
    if not decay >= 0:
        raise ValueError(f"decay must be at least 0, got {decay:g}")
