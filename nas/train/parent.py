"""The trained network that candidates start from: its weights on disk, and the start of a child."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nas.train.inherit.child import inherit
from nas.train.inherit.teacher import Teacher
from nas.train.proxy import OverBase, bicubic_base, residual_spec
from nas.train.weights import load_upscaler
from search_spaces.network import Network
from search_spaces.spec import ArchSpec

NUM_IMAGES, SIDE = (
    120,
    24,
)  # calibration patches: as good as larger ones of the same pixels, or better


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentFile:
    """A trained network: its architecture and its weights."""

    spec: ArchSpec
    weights: Path


class Parent:
    """A trained network, read once; whole, or a residual over the proxy's base.

    Args:
        images: LR (N, 3, H, W) in [0, 1], on the CPU, to calibrate children with.
    Raises:
        ValueError: the weights do not belong to the architecture, or children cannot inherit from it.
    """

    def __init__(self, file: ParentFile, images: Tensor) -> None:
        self.upscaler: nn.Module = load_upscaler(file.spec, file.weights)
        for parameter in self.upscaler.parameters():
            parameter.requires_grad_(False)
        self._target: Tensor | None = None
        net = self.upscaler.net if isinstance(self.upscaler, OverBase) else self.upscaler
        assert isinstance(net, Network)
        if net is self.upscaler:  # children are residuals
            with torch.no_grad():
                self._target = net(images) - bicubic_base(images, file.spec.scale)
        self.teacher = Teacher(net, images)

    def child(self, spec: ArchSpec, *, seed: int) -> Network:
        """A residual network of a spec that starts from the parent's weights, in closed form.

        Raises:
            ValueError: its parts do not correspond to the parent's.
        """
        return inherit(self.teacher, residual_spec(spec), seed=seed, target=self._target)
