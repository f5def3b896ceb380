"""The best linear filter over the base: a network that beats it has learned something."""

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.data.patches import PatchStore
from nas.data.pixels.base import bicubic_base
from nas.measure.quality import Upscaler

KERNEL = 5
RIDGE = 1e-4  # of the mean second moment of the inputs
PATCH = 16  # side of the LR patches, in pixels
FIRST_STEP = 2**31  # far from the steps of any training, so that its patches are not fitted
BATCH_SIZE = 16


def linear_filter(
    patches: PatchStore, device: torch.device, *, num_batches: int = 24, patch: int = PATCH
) -> Upscaler:
    """Fit a 5x5 filter from LR colours to the residual over the base, by least squares.

    SPAN-like networks fall back to such a filter when their gates die: one convolution and a pixel
    shuffle.

    Args:
        patches: LR and HR patches that the filter is fitted to.
        device: where the filter runs.
        num_batches: batches of 16 patches that are read.
        patch: side of the LR patches, which the images have to hold.
    Returns:
        The upscaler, (N, 3, H, W) -> (N, 3, scale H, scale W).
    """
    scale = patches.scale
    size = 3 * KERNEL**2 + 1  # the filter's inputs, and 1 for its bias

    # The normal equations, summed over batches in float64.
    gram = torch.zeros(size, size, dtype=torch.float64)
    cross = torch.zeros(size, 3 * scale**2, dtype=torch.float64)
    for step in range(num_batches):
        lr, hr = patches.batch(FIRST_STEP + step, BATCH_SIZE, patch)
        inputs = F.pad(F.unfold(lr, KERNEL, padding=KERNEL // 2), (0, 0, 0, 1), value=1.0)
        outputs = F.pixel_unshuffle(hr - bicubic_base(lr, scale), scale).flatten(2)
        input_rows = inputs.transpose(1, 2).flatten(0, 1).double()
        output_rows = outputs.transpose(1, 2).flatten(0, 1).double()
        gram += input_rows.T @ input_rows
        cross += input_rows.T @ output_rows

    gram += RIDGE * gram.diagonal().mean() * torch.eye(size, dtype=torch.float64)
    solution = torch.linalg.solve(gram, cross).float().to(device)
    kernel = solution[:-1].T.reshape(3 * scale**2, 3, KERNEL, KERNEL)

    def upscale(x: Tensor) -> Tensor:
        residual = F.conv2d(x, kernel, solution[-1], padding=KERNEL // 2)
        return F.pixel_shuffle(residual, scale) + bicubic_base(x, scale)

    return upscale
