"""The trained network that candidates start from: its weights on disk, and its children."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from nas.data.pixels.base import bicubic_base
from nas.train.inherit.child import inherit
from nas.train.inherit.teacher import Teacher
from nas.train.proxy import OverBase, residual_spec
from nas.train.weights import load_upscaler
from search_spaces.network import Network
from search_spaces.spec import ArchSpec

# Calibration patches: at least as good as fewer, larger ones of as many pixels.
NUM_IMAGES, SIDE = 120, 24


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentFile:
    """A trained network: its architecture and its weights."""

    spec: ArchSpec
    weights: Path


class Parent:
    """A trained network, read once: whole, or a residual over the proxy's base.

    Attributes:
        upscaler: the network with its base, in evaluation mode and without gradients.
        teacher: its features on the calibration images, which children are fitted to.

    Args:
        file: the architecture and its weights on disk.
        images: LR (N, 3, H, W) in [0, 1], on the CPU, to calibrate children with.
    Raises:
        ValueError: the weights do not belong to the architecture, or no child can inherit from it.
    """

    def __init__(self, file: ParentFile, images: Tensor) -> None:
        self.upscaler: nn.Module = load_upscaler(file.spec, file.weights)
        for parameter in self.upscaler.parameters():
            parameter.requires_grad_(False)

        # Children are residuals: a whole network's output less the base is what they are fitted to.
        self._target: Tensor | None = None
        net = self.upscaler.net if isinstance(self.upscaler, OverBase) else self.upscaler
        assert isinstance(net, Network)
        if net is self.upscaler:
            with torch.no_grad():
                self._target = net(images) - bicubic_base(images, file.spec.scale)

        self.teacher = Teacher(net, images)

    def child(self, spec: ArchSpec, *, seed: int) -> Network:
        """Build a residual network that starts from the parent's weights, in closed form.

        Args:
            spec: the child's architecture.
            seed: of channels that the parent does not have.
        Raises:
            ValueError: the child's parts do not correspond to the parent's.
        """
        return inherit(self.teacher, residual_spec(spec), seed=seed, target=self._target)
