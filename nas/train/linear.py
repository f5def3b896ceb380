"""The best linear filter over the base: what a network has to beat to have learned anything."""

import torch
from torch import Tensor
from torch.nn import functional as F

from nas.data.patches import PatchStore
from nas.measure.quality import Upscaler
from nas.train.proxy import bicubic_base

KERNEL = 5
RIDGE = 1e-4
PATCH = 16  # side of the LR patches


def linear_filter(
    patches: PatchStore, device: torch.device, *, num_batches: int = 24, patch: int = PATCH
) -> Upscaler:
    """Fit a 5x5 filter from LR colours to the residual over the base, by least squares.

    It is what SPAN-like networks fall back to when their gates die: one convolution and pixel shuffle.

    Args:
        patches: LR and HR; steps far from those of any training are read.
        patch: side of the LR patches, which the images have to hold.
    Returns:
        (N, 3, H, W) -> (N, 3, scale*H, scale*W).
    """
    scale = patches.scale
    size = 3 * KERNEL**2 + 1
    gram = torch.zeros(size, size, dtype=torch.float64)
    cross = torch.zeros(size, 3 * scale**2, dtype=torch.float64)
    for step in range(num_batches):
        lr, hr = patches.batch(2**31 + step, 16, patch)
        columns = F.pad(F.unfold(lr, KERNEL, padding=KERNEL // 2), (0, 0, 0, 1), value=1.0)
        targets = F.pixel_unshuffle(hr - bicubic_base(lr, scale), scale).flatten(2)
        a = columns.transpose(1, 2).flatten(0, 1).double()
        b = targets.transpose(1, 2).flatten(0, 1).double()
        gram += a.T @ a
        cross += a.T @ b
    gram += RIDGE * gram.diagonal().mean() * torch.eye(size, dtype=torch.float64)
    solution = torch.linalg.solve(gram, cross).float().to(device)
    kernel = solution[:-1].T.reshape(3 * scale**2, 3, KERNEL, KERNEL)

    def upscale(x: Tensor) -> Tensor:
        residual = F.conv2d(x, kernel, solution[-1], padding=KERNEL // 2)
        return F.pixel_shuffle(residual, scale) + bicubic_base(x, scale)

    return upscale
