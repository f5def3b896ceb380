"""The proxy: a brief training of the residual over a fixed bicubic base."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.data.patches import PatchStore
from nas.data.pixels.base import bicubic_base
from nas.system.faults import ArchitectureError
from nas.train.muadamw import Muon, hidden_kernels
from search_spaces.initialise import initial_network
from search_spaces.network import Network, build
from search_spaces.spec import FIXED_SKIPS, ArchSpec, BlockSpec

CALIBRATION_STEP = 2**31 - 1  # its patches set the start of a training; no training gets that far
BASE = "bicubic"  # written into the metadata of proxy weights
STEPS_PER_NOTE = 25  # between two notes on how far a training is
MAX_LOSS = 10.0  # ten times the range of an image: no training comes back from there
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": F.l1_loss, "mse": F.mse_loss}


class TrainingError(ArchitectureError, RuntimeError):
    """A proxy training failed and its network cannot be ranked; `kind` says how."""

    def __init__(self, kind: Literal["diverged", "stuck"], message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """The optimizers' settings.

    Attributes:
        lr: peak learning rate of AdamW.
        muon_lr: peak learning rate of Muon, on hidden convolutions; None: AdamW trains all weights.
        momentum, decay: momentum and weight decay of Muon.
        clip: largest norm of all gradients together.
    """

    lr: float
    muon_lr: float | None
    momentum: float
    decay: float
    clip: float

    def __post_init__(self) -> None:
        if (
            not self.lr > 0
            or (self.muon_lr is not None and not self.muon_lr > 0)
            or not self.clip > 0
        ):
            raise ValueError(f"lr, muon_lr and clip must be above 0, got {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyConfig:
    """One proxy training: every candidate sees the same patches in the same order.

    Attributes:
        steps: optimizer steps of a whole training.
        batch_size, patch: patches a step, and the side of an LR patch in pixels.
        loss: of the output against HR.
        warmup: share of the steps in which the learning rate rises.
        ema: decay of the weights' moving average, which is what is evaluated.
        max_restarts: how often a stuck or diverged training starts again, with another seed.
        distill: weight of the loss against the parent's output; 0: none.
        optimizer: the optimizers' settings.
    """

    steps: int
    batch_size: int
    patch: int
    loss: Literal["l1", "mse"]
    warmup: float
    ema: float
    max_restarts: int
    distill: float
    optimizer: Optimizer

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "patch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.distill >= 0:
            raise ValueError(f"distill must be at least 0, got {self.distill:g}")
        if not 0 <= self.warmup < 1 or not 0 <= self.ema < 1:
            raise ValueError(
                f"warmup and ema must be at least 0 and below 1, got {self.warmup} and {self.ema}"
            )


def residual_spec(spec: ArchSpec) -> ArchSpec:
    """Return the spec without the parts whose work the base does already.

    These are a fixed skip branch, and the restored mean colour of a centred network. What is left
    is the part that the proxy trains.
    """
    # The base adds bicubic pixels: a second fixed branch would count them twice.
    fixed = spec.skip is not None and spec.skip.kind in FIXED_SKIPS
    wrap = tuple(
        BlockSpec.of("centre", restore=False) if layer.kind == "centre" else layer
        for layer in spec.wrap
    )
    return dataclasses.replace(spec, skip=None if fixed else spec.skip, wrap=wrap)


class OverBase(nn.Module):
    """A residual network with the fixed base added, (N, 3, H, W) -> (N, 3, scale H, scale W)."""

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x) + bicubic_base(x, self.net.spec.scale)
        return out


class ProxyTrainer:
    """One proxy training, step by step: its caller may stop, save or give way between steps.

    Example:
        >>> import torch
        >>> from search_spaces import published
        >>> spec = published("span")
        >>> trainer = ProxyTrainer(spec, config, patches, seed=0, device=torch.device("cpu"))
        >>> loss = trainer.step()
        >>> state = trainer.state()  # `restore` goes on from it, bit for bit
        >>> trainer.done
        1
        >>> net = trainer.averaged()
    """

    def __init__(
        self,
        spec: ArchSpec,
        config: ProxyConfig,
        patches: PatchStore,
        *,
        seed: int,
        device: torch.device,
        rate: float = 1.0,
        start: Network | None = None,
        parent: nn.Module | None = None,
    ) -> None:
        """Start a training.

        Args:
            spec: the architecture; its `residual_spec` is trained.
            config: length, batch, loss and optimizers.
            patches: the training patches.
            seed: of fresh weights.
            device: where the network is trained; the caller's `start` is moved there.
            rate: factor of every learning rate.
            start: the network to go on from, of the residual spec; None: fresh weights.
            parent: an upscaler on the device, imitated with the weight `config.distill`.
        """
        self.config = config
        self.patches = patches
        self.device = device
        self.done = 0  # steps
        if start is None:
            # Fresh weights are scaled on patches that no training sees.
            images, _ = patches.batch(CALIBRATION_STEP, 16, config.patch)
            start = initial_network(residual_spec(spec), seed, images)

        self.parent = parent if config.distill else None

        # Channels last: convolutions run faster on this layout, with equal results.
        net = start.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net: Network = net.train()
        self.average = {name: value.detach().clone() for name, value in self.net.named_parameters()}
        self.optimizers = _make_optimizers(self.net, config.optimizer, rate)
        self.peaks = [group["lr"] for group in self._parameter_groups()]

    def step(self) -> float:
        """Take one optimizer step and return the loss before it.

        Raises:
            TrainingError: the loss is far out of range or not finite.
        """
        config = self.config
        lr, hr = self.patches.batch(self.done, config.batch_size, config.patch)
        lr, hr = lr.to(self.device), hr.to(self.device)

        factor = _schedule_factor(self.done, config)
        for group, peak in zip(self._parameter_groups(), self.peaks, strict=True):
            group["lr"] = peak * factor

        # The network gives the residual: the loss compares the whole image, and with the parent's.
        x = lr.contiguous(memory_format=torch.channels_last)
        out = self.net(x) + bicubic_base(lr, self.net.spec.scale)
        loss = LOSSES[config.loss](out, hr)
        if self.parent is not None:
            with torch.no_grad():
                parent_out = self.parent(x)
            loss = loss + config.distill * LOSSES[config.loss](out, parent_out)

        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), config.optimizer.clip)

        # Before the weights change; written so that a loss that is not a number raises too.
        loss_value = loss.item()
        if not loss_value < MAX_LOSS:
            raise TrainingError("diverged", f"the loss was {loss_value:.3g} at step {self.done}")
        for optimizer in self.optimizers:
            optimizer.step()
        self.done += 1
        self._update_average()
        return loss_value

    def run(self, until: int, *, tell: Callable[[str], None], give_way: Callable[[], None]) -> None:
        """Train until `until` steps are done in all.

        Args:
            until: steps in all, those already done included.
            tell: called now and then with a few words on how far the training is.
            give_way: called before each step; returns when the device may be used again.
        Raises:
            TrainingError: see `step`.
        """
        while self.done < until:
            if self.done % STEPS_PER_NOTE == 0:
                tell(f"training {self.done}/{self.config.steps}")
            give_way()
            self.step()

    def state(self) -> dict[str, Any]:
        """Return all that changes from step to step; tensors are the trainer's own, not copies."""
        return {
            "done": self.done,
            "net": self.net.state_dict(),
            "average": self.average,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned, bit for bit as if the training had not stopped."""
        self.done = state["done"]
        self.net.load_state_dict(state["net"])
        for name, value in self.average.items():
            value.copy_(state["average"][name])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """List the parameter groups of all optimizers, each with its own learning rate."""
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def _update_average(self) -> None:
        """Draw the averaged weights towards the current ones."""
        # The decay grows from 0.1 to its full value, so that the first steps do not weigh on it.
        decay = min(self.config.ema, (1 + self.done) / (10 + self.done))
        with torch.no_grad():
            for name, value in self.net.named_parameters():
                self.average[name].lerp_(value, 1 - decay)

    def averaged(self) -> Network:
        """Build the network with the averaged weights, for evaluation, on the training device."""
        net = build(self.net.spec)
        net = net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

        # A fresh network: training goes on with the current weights.
        net.load_state_dict(self.average)
        averaged: Network = net.eval()
        return averaged


def _schedule_factor(step: int, config: ProxyConfig) -> float:
    """Return the factor of the peak rates, 0 to 1: linear warm-up, then linear decay to zero."""
    warmup = max(1, round(config.warmup * config.steps))
    return min((step + 1) / warmup, (config.steps - step) / max(1, config.steps - warmup))


def _make_optimizers(net: Network, config: Optimizer, rate: float) -> list[torch.optim.Optimizer]:
    """Make AdamW for all weights, or with Muon for the hidden kernels and AdamW for the others."""
    kernels = hidden_kernels(net) if config.muon_lr is not None else []
    # By identity: two weights of equal values are two weights.
    kernel_ids = {id(kernel) for kernel in kernels}
    rest = [weight for weight in net.parameters() if id(weight) not in kernel_ids]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            rest, lr=config.lr * rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True
        )
    ]
    if kernels:
        assert config.muon_lr is not None
        optimizers.append(
            Muon(kernels, lr=config.muon_lr * rate, momentum=config.momentum, decay=config.decay)
        )

    return optimizers
