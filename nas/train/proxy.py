"""The proxy: a brief training of the residual over a fixed bicubic base, the same for every network."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.data.patches import PatchStore
from nas.train.muadamw import Muon, hidden_kernels
from search_spaces.initialise import initial_network
from search_spaces.network import Network, build
from search_spaces.spec import FIXED_SKIPS, ArchSpec, BlockSpec

CALIBRATION_STEP = 2**31 - 1  # its patches set the start of a training; no training gets that far
BASE = "bicubic"  # written into the metadata of proxy weights
TELL_EVERY = 25  # steps
MAX_LOSS = 10.0  # ten times the range of an image, or not a number: nothing comes back from there
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": F.l1_loss, "mse": F.mse_loss}


class TrainingError(RuntimeError):
    """A proxy training that gave nothing to rank: `kind` is diverged or stuck."""

    def __init__(self, kind: Literal["diverged", "stuck"], message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """Which steps are taken. Rates are peaks; `muon_lr` null trains everything with AdamW."""

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
    """The default fidelity of a search: every candidate sees the same patches in the same order."""

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


def bicubic_base(x: Tensor, scale: int) -> Tensor:
    """The fixed base: PyTorch's bicubic upsampling (a = -0.75) of (N, 3, H, W), not clamped."""
    return F.interpolate(x, scale_factor=scale, mode="bicubic", align_corners=False)


def residual_spec(spec: ArchSpec) -> ArchSpec:
    """The part of a network that the proxy trains: what it adds to its output the base has already.

    That is a fixed skip branch, and the mean colour that a centred network restores.
    """
    fixed = spec.skip is not None and spec.skip.kind in FIXED_SKIPS
    wrap = tuple(
        BlockSpec.of("centre", restore=False) if layer.kind == "centre" else layer
        for layer in spec.wrap
    )
    return dataclasses.replace(spec, skip=None if fixed else spec.skip, wrap=wrap)


class OverBase(nn.Module):
    """A network of residuals with the fixed base added: an upscaler like any other."""

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x) + bicubic_base(x, self.net.spec.scale)
        return out


class ProxyTrainer:
    """One proxy training, step by step, so that its caller can report, yield or stop between steps."""

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
            rate: multiplies every learning rate.
            start: the network that it goes on from, of the residual spec; None: fresh weights.
            parent: an upscaler on the device whose output is imitated too, where the configuration says so.
        """
        self.config = config
        self.patches = patches
        self.device = device
        self.done = 0
        if start is None:
            images, _ = patches.batch(CALIBRATION_STEP, 16, config.patch)
            start = initial_network(residual_spec(spec), seed, images)
        self.parent = parent if config.distill else None
        net = start.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net: Network = net.train()
        self.average = {name: value.detach().clone() for name, value in self.net.named_parameters()}
        self.optimizers = _optimizers(self.net, config.optimizer, rate)
        self.peaks = [group["lr"] for one in self.optimizers for group in one.param_groups]

    def step(self) -> float:
        """One optimizer step; gives the loss.

        Raises:
            TrainingError: the loss is far out of range or not finite.
        """
        config = self.config
        lr, hr = self.patches.batch(self.done, config.batch_size, config.patch)
        lr, hr = lr.to(self.device), hr.to(self.device)
        factor = _schedule(self.done, config)
        groups = [group for one in self.optimizers for group in one.param_groups]
        for group, peak in zip(groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        x = lr.contiguous(memory_format=torch.channels_last)
        out = self.net(x) + bicubic_base(lr, self.net.spec.scale)
        loss = LOSSES[config.loss](out, hr)
        if self.parent is not None:
            with torch.no_grad():
                wanted = self.parent(x)
            loss = loss + config.distill * LOSSES[config.loss](out, wanted)
        for one in self.optimizers:
            one.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), config.optimizer.clip)
        value = loss.item()
        if not value < MAX_LOSS:
            raise TrainingError("diverged", f"the loss was {value:.3g} at step {self.done}")
        for one in self.optimizers:
            one.step()
        self.done += 1
        self._track()
        return value

    def run(self, until: int, *, tell: Callable[[str], None], give_way: Callable[[], None]) -> None:
        """Train up to a step.

        Args:
            tell: takes a few words on how far it is, now and then.
            give_way: called between steps; comes back when the device may be used again.
        Raises:
            TrainingError: as `step`.
        """
        while self.done < until:
            if self.done % TELL_EVERY == 0:
                tell(f"training {self.done}/{self.config.steps}")
            give_way()
            self.step()

    def state(self) -> dict[str, Any]:
        """All that the next step depends on beside what the trainer was made with; tensors are not copied."""
        return {
            "done": self.done,
            "net": self.net.state_dict(),
            "average": self.average,
            "optimizers": [one.state_dict() for one in self.optimizers],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state: bit for bit as if the training had not stopped."""
        self.done = state["done"]
        self.net.load_state_dict(state["net"])
        for name, value in self.average.items():
            value.copy_(state["average"][name])
        for one, kept in zip(self.optimizers, state["optimizers"], strict=True):
            one.load_state_dict(kept)

    def _track(self) -> None:
        decay = min(self.config.ema, (1 + self.done) / (10 + self.done))
        with torch.no_grad():
            for name, value in self.net.named_parameters():
                self.average[name].lerp_(value, 1 - decay)

    def averaged(self) -> Network:
        """The network with the averaged weights, on the training device."""
        net = build(self.net.spec).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        net.load_state_dict(self.average)
        result: Network = net.eval()
        return result


def _schedule(step: int, config: ProxyConfig) -> float:
    """Linear warm-up, then linear decay to zero."""
    warmup = max(1, round(config.warmup * config.steps))
    return min((step + 1) / warmup, (config.steps - step) / max(1, config.steps - warmup))


def _optimizers(net: Network, config: Optimizer, rate: float) -> list[torch.optim.Optimizer]:
    muon = hidden_kernels(net) if config.muon_lr is not None else []
    taken = {id(p) for p in muon}
    rest = [p for p in net.parameters() if id(p) not in taken]
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            rest, lr=config.lr * rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True
        )
    ]
    if muon:
        assert config.muon_lr is not None
        found.append(
            Muon(muon, lr=config.muon_lr * rate, momentum=config.momentum, decay=config.decay)
        )
    return found
