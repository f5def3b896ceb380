"""Where a training of a whole network starts: at the best linear filter that it can be."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.train.inherit.fitting import solve
from nas.train.trainer import Batches
from search_spaces.frame import PixelShuffle
from search_spaces.initialise import initial_network
from search_spaces.network import Network
from search_spaces.spec import ArchSpec

CALIBRATION_STEP = 2**31 - 1  # its patches set the start of a training; no training gets that far
NUM_IMAGES, NUM_FITTED, SIDE = 16, 64, 24  # patches that features are scaled on, and fitted on


def start_network(spec: ArchSpec, batches: Batches, *, seed: int, patch: int) -> Network:
    """Return a network with fresh weights that upscales as well as a linear filter.

    All features are of unit size (see `initial_network`); the convolution that makes the image is
    fitted to HR patches by least squares, as its input holds the LR pixels almost unchanged.

    Args:
        seed: of the fresh weights.
        patch: side of the LR patches that the images hold, at most SIDE are taken.
    """
    side = min(patch, SIDE)
    images, _ = batches.batch(CALIBRATION_STEP, NUM_IMAGES, side)
    net = initial_network(spec, seed, images, zero_output=False)
    lr, hr = batches.batch(CALIBRATION_STEP - 1, NUM_FITTED, side)
    fit_last_convolution(net, lr, hr)
    return net


@torch.no_grad()
def fit_last_convolution(net: Network, lr: Tensor, hr: Tensor) -> None:
    """Fit the convolution before the pixel shuffle so that the output is closest to HR.

    Nothing changes where the output is no linear function of it.

    Args:
        lr: (N, 3, h, w), on the network's device.
        hr: (N, 3, scale h, scale w).
    """
    conv = net.upsampler.conv
    if type(net.upsampler) is not PixelShuffle or not isinstance(conv, nn.Conv2d):
        return

    # What the network gives beside this convolution: a skip branch, a mean colour.
    for parameter in conv.parameters():
        parameter.zero_()
    seen: list[Tensor] = []
    hook = conv.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    rest = net(lr)
    hook.remove()
    features = seen[0]
    if features.shape[-2:] != lr.shape[-2:]:  # the image was padded
        return

    kernel = conv.kernel_size[0]
    columns = F.unfold(features, kernel, padding=kernel // 2)
    if conv.bias is not None:
        columns = F.pad(columns, (0, 0, 0, 1), value=1.0)
    target = F.pixel_unshuffle(hr - rest, net.spec.scale).flatten(2)
    rows, target_rows = (x.transpose(1, 2).flatten(0, 1).double() for x in (columns, target))
    weights = solve(rows.T @ rows, rows.T @ target_rows).T

    if conv.bias is not None:
        conv.bias.copy_(weights[:, -1])
        weights = weights[:, :-1]
    conv.weight.copy_(weights.reshape(conv.weight.shape))
