"""Kernels of convolutions as matrices of four outputs and the four inputs of a texture."""

from typing import Any

import torch
from torch import Tensor, fx

from nas.export.mpv.expressions import format_matrix, format_vector
from nas.export.mpv.passes import Channel

Taps = dict[tuple[int, int], Tensor]  # by row and column beside the pixel: (4, 4), outputs x inputs


def pick_rows(weight: Tensor, node: fx.Node, group: int) -> Tensor:
    """Return a kernel of four outputs over all inputs, whatever the groups of the convolution.

    Returns:
        (4, inputs, k, k).
    """
    channels, per_group, height, width = weight.shape
    options: Any = [*node.args, *[None] * 7][:7]
    groups = options[6] or 1
    dense = weight.new_zeros(4, per_group * groups, height, width)
    for row, channel in enumerate(range(4 * group, min(4 * group + 4, channels))):
        first = channel // (channels // groups) * per_group
        dense[row, first : first + per_group] = weight[channel]
    return dense


def list_terms(kernel: Tensor, places: list[Channel]) -> dict[str, Taps]:
    """Sort a kernel (4, inputs, k, k) by the textures in which its inputs lie.

    Matrices of zeros are left out.
    """
    height, width = kernel.shape[2:]
    terms: dict[str, Taps] = {}
    for texture in dict.fromkeys(channel.texture for channel in places):
        matrices = torch.zeros(height, width, 4, 4)
        for index, channel in enumerate(places):
            if channel.texture == texture:
                matrices[:, :, :, channel.component] += kernel[:, index].permute(1, 2, 0)
        taps = {
            (row - height // 2, column - width // 2): matrices[row, column]
            for row in range(height)
            for column in range(width)
            if matrices[row, column].any()
        }
        if taps:
            terms[texture] = taps
    return terms


def multiply(matrix: Tensor, value: str) -> str:
    """Return a product of a matrix, (outputs, inputs), with four channels."""
    diagonal = torch.diagonal(matrix)
    if torch.equal(matrix, torch.diag(diagonal)):
        return f"{format_vector(diagonal.tolist())} * {value}"
    return f"{format_matrix(matrix.T.tolist())} * {value}"
