"""Features of networks that see pixels in [0, 255], made small enough for half floats."""

import copy

import torch
from torch import nn

from search_spaces.network import Network

# A power of two, so that nothing is rounded; it brings features back to the size of pixels in
# [0, 1].
FACTOR = 2.0**-8
IMAGE_CHANNELS = 3
TRIAL_SIZE = (20, 24)  # of the image on which both networks are compared, in pixels


def scale_features(net: Network) -> Network | None:
    """Return a copy whose features are smaller by `FACTOR` and whose output is equal.

    None: there is none, as where features are multiplied by each other, or go through a SiLU.
    """
    small = copy.deepcopy(net)
    with torch.no_grad():
        for module in small.modules():
            if not isinstance(module, nn.Conv2d) or module is small.upsampler.conv:
                continue
            # Features become small where the image comes in; biases are added to small ones.
            if module.in_channels == IMAGE_CHANNELS:
                module.weight *= FACTOR
            if module.bias is not None:
                module.bias *= FACTOR
        last = small.upsampler.conv
        assert isinstance(last, nn.Conv2d)
        last.weight /= FACTOR

    # To the last bit: a network that is not homogeneous gives another image.
    image = torch.rand(1, 3, *TRIAL_SIZE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return small if torch.equal(small(image), net(image)) else None
