"""The format mpv: one user shader for mpv and whatever else renders by libplacebo."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from nas.deploy.hostile import hostile_images
from nas.deploy.plan import outputs
from nas.export.bundle import Bundle
from nas.export.mpv.graph import Graph
from nas.export.mpv.read import RenderError, render
from nas.export.mpv.scaling import scale_features
from nas.export.mpv.shader import Shader
from nas.export.operators import USUAL, check_operators, take_same_convolution

LARGEST = torch.finfo(torch.float16).max
RANGE_SIZE = (24, 24)  # of the images on which features are tried, in pixels
HEADROOM = 2.0  # other images may go further than those that are tried
KNOWN = USUAL | {"aten.convolution": take_same_convolution}
HEAD = """\
// {name}: a network that enlarges {scale} times, as a user shader for mpv and libplacebo.
// Written by nas export. mpv --glsl-shaders=FILE; it runs where the window is wider than the video.

"""


class MpvExporter:
    """Writes <arch_id>.glsl, passes over textures of four half floats each.

    What a search trained has its base in the shader, and `_draft` in the name.
    """

    takes_residuals = True
    tolerance = 1 / 255
    clamps = True

    def check(self, bundle: Bundle) -> None:
        """Check that a shader can hold the network, and that it can be rendered here.

        Raises:
            ValueError: an operator is missing, features are too large for half floats, or ffmpeg
                has no libplacebo or no Vulkan device.
        """
        check_operators(bundle.net, KNOWN)
        upscaler = _make_upscaler(bundle)
        _check_renderer()
        _check_range(Graph(upscaler))

    def write(self, bundle: Bundle, folder: Path) -> list[str]:
        """Write the one file; return its name."""
        name = bundle.name_file(".glsl")
        # Names of textures begin with a letter, and two networks have two.
        shader = Shader(Graph(_make_upscaler(bundle)), f"net{bundle.name[:6]}")
        head = HEAD.format(name=name, scale=bundle.spec.scale)
        (folder / name).write_text(head + "\n".join(shader.passes), encoding="utf-8")
        return [name]

    def reader(self, folder: Path, names: Sequence[str]) -> list[str]:
        """Return the command that renders by the shader in a process of its own."""
        return [sys.executable, "-m", "nas.export.mpv.read", str(folder / names[0])]


def _make_upscaler(bundle: Bundle) -> nn.Module:
    """Return the module that gives whole images, its features small enough where that is exact.

    Raises:
        ValueError: it is not.
    """
    if not bundle.spec.normalise:
        return bundle.upscaler()
    net = scale_features(bundle.net)
    if net is None:
        raise ValueError(
            "features are held in half floats, which those of normalise=true overflow (the body "
            "sees pixels in [0, 255], and its activations or attention do not scale); search with "
            "normalise=false, or formats=[onnx]"
        )
    return dataclasses.replace(bundle, net=net).upscaler()


def _check_renderer() -> None:
    """Check that ffmpeg renders by libplacebo here: a shader is tried before it is handed over.

    Raises:
        ValueError: it does not.
    """
    try:
        render(None, np.zeros((1, 3, 4, 4), np.uint16), 2)
    except RenderError as error:
        raise ValueError(
            f"shaders are checked by ffmpeg's libplacebo on a Vulkan device: {error}; Debian "
            "and Ubuntu: apt install ffmpeg mesa-vulkan-drivers"
        ) from None


def _check_range(graph: Graph) -> None:
    """Check that what is stored in textures fits half floats, on images that drive networks far.

    Raises:
        ValueError: it does not; the message names the layer and the image.
    """
    names = {node.name: node for node in graph.stored}
    for name, image in hostile_images(*RANGE_SIZE).items():
        for node, value in outputs(graph.module, image).items():
            peak = value.abs().max().item() if node in names else 0.0
            if not peak < LARGEST / HEADROOM:
                raise ValueError(
                    f"features are held in half floats, which end at {LARGEST:g}: those of "
                    f"{graph.find_layer(names[node])} reach {peak:.3g} on the image "
                    f"{name!r}; formats=[onnx] may take this network"
                )
