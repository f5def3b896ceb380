"""The proxy: a brief training of the residual over a fixed bicubic base."""

import dataclasses
import functools
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from nas.data.patches import PatchStore
from nas.data.pixels.base import bicubic_base
from nas.losses.pixel import L1, MSE
from nas.train.distill.imitation import Imitation
from nas.train.distill.terms import Output
from nas.train.recipe.config import Patches, Stage
from nas.train.recipe.optimizers import AdamW, MuAdamW
from nas.train.recipe.schedules import Linear
from nas.train.start import CALIBRATION_STEP
from nas.train.trainer import StageTrainer
from search_spaces.initialise import initial_network
from search_spaces.network import Network
from search_spaces.spec import FIXED_SKIPS, ArchSpec, BlockSpec

BASE = "bicubic"  # written into the metadata of proxy weights
MAX_LOSS = 10.0  # ten times the range of an image: no training comes back from there
LOSSES: dict[str, type[L1] | type[MSE]] = {"l1": L1, "mse": MSE}
BETAS = (0.9, 0.99)  # of AdamW


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


def start_proxy(
    spec: ArchSpec,
    config: ProxyConfig,
    patches: PatchStore,
    *,
    seed: int,
    device: torch.device,
    rate: float = 1.0,
    start: Network | None = None,
    parent: nn.Module | None = None,
) -> StageTrainer:
    """Start a proxy training: its caller may stop, save or give way between steps.

    Args:
        spec: the architecture; its `residual_spec` is trained.
        config: length, batch, loss and optimizers.
        patches: the training patches.
        seed: of fresh weights.
        device: where the network is trained; the caller's `start` is moved there.
        rate: factor of every learning rate.
        start: the network to go on from, of the residual spec; None: fresh weights.
        parent: an upscaler on the device, imitated with the weight `config.distill`.

    Example:
        >>> import torch
        >>> from search_spaces import published
        >>> spec = published("span")
        >>> trainer = start_proxy(spec, config, patches, seed=0, device=torch.device("cpu"))
        >>> loss = trainer.step()
        >>> state = trainer.state()  # `restore` goes on from it, bit for bit
        >>> trainer.done
        1
        >>> net = trainer.averaged()
    """
    if start is None:
        # Fresh weights are scaled on patches that no training sees.
        images, _ = patches.batch(CALIBRATION_STEP, 16, config.patch)
        start = initial_network(residual_spec(spec), seed, images)

    stage = make_proxy_stage(config)
    imitation = None
    if parent is not None and config.distill:
        imitation = Imitation(parent, stage.distill)
    return StageTrainer(
        start,
        stage,
        patches,
        shapes=[(config.patch, config.patch)],
        device=device,
        rate=rate,
        base=functools.partial(bicubic_base, scale=spec.scale),
        imitation=imitation,
        max_loss=MAX_LOSS,
    )


def make_proxy_stage(config: ProxyConfig) -> Stage:
    """Return the stage that a proxy training is."""
    optimizer = config.optimizer
    make_loss = LOSSES[config.loss]
    return Stage(
        steps=config.steps,
        patches=Patches(lr=[config.patch], hr=None, batch_size=config.batch_size, accumulate=1),
        losses={config.loss: make_loss(weight=1.0)},
        distill={"parent": Output(loss=make_loss(weight=config.distill))} if config.distill else {},
        optimizer=AdamW(lr=optimizer.lr, betas=BETAS, decay=0.0, relative=False)
        if optimizer.muon_lr is None
        else MuAdamW(
            lr=optimizer.lr,
            betas=BETAS,
            decay=0.0,
            relative=False,
            muon_lr=optimizer.muon_lr,
            momentum=optimizer.momentum,
            muon_decay=optimizer.decay,
        ),
        schedule=Linear(warmup=config.warmup),
        ema=config.ema,
        clip=optimizer.clip,
        form="plain",
    )
