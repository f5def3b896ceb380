"""Takes the fixed base of a residual network into its last layers, in closed form.

A network that was trained as a residual over the base gives half an image. Where fusion and
upsampler are linear layers over tapped features, and the stem is among these, the base can be made
of the taps too: all that the two layers compute together is fitted to the residual plus the base,
and factored again into layers of their widths.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.train.inherit.fitting import solve, with_ridge
from nas.train.proxy import bicubic_base
from nas.train.start import fit_last_convolution
from search_spaces.network import Network, build
from search_spaces.spec import ArchSpec

CHUNK = 8  # images whose columns are in memory at once


def can_absorb(spec: ArchSpec) -> bool:
    """Return whether a base can be taken into networks of a spec.

    Example:
        >>> from search_spaces.published import published
        >>> can_absorb(published("span")), can_absorb(published("disp"))
        (True, False)
    """
    args = dict(spec.fusion.args)
    return (
        "stem" in spec.taps
        and spec.fusion.kind == "conv"
        and args.get("kernel", 1) == 1
        and not spec.tail
        and not spec.residuals
        and not spec.scaled_taps
        and spec.skip is None
        and spec.upsampler.kind == "pixel_shuffle"
        and not any(layer.kind == "pad" for layer in spec.wrap)
    )


@torch.no_grad()
def absorb_base(net: Network, spec: ArchSpec, lr: Tensor) -> Network:
    """Return a network that gives by itself what a residual and its base give together.

    The joint map of taps to image is fitted by ridge regression. Its factor in the fusion spans the
    combinations of taps of which the image is made most, weighed by how the taps vary; the last
    convolution is then fitted again on what the fusion gives.

    Args:
        net: the residual network, plain.
        spec: of the whole network, which `can_absorb` takes.
        lr: patches to fit on, (N, 3, h, w), on the network's device.

    Source: reduced-rank regression, as in the closed-form start of a pruned tail; Izenman,
        Reduced-rank regression for the multivariate linear model, 1975.
    """
    target = net(lr) + bicubic_base(lr, spec.scale)
    whole = build(spec).to(lr.device)
    whole.load_state_dict(net.state_dict())
    fusion, last = whole.fusion, whole.upsampler.conv
    assert isinstance(fusion, nn.Conv2d)
    assert isinstance(last, nn.Conv2d)
    taps = _read_taps(whole, lr)
    image_rows = F.pixel_unshuffle(target, spec.scale)

    # All 1x1 maps of the taps that the image is made of, and how the taps vary together.
    joint = _fit_joint_kernel(taps, image_rows, kernel=last.kernel_size[0])
    flat = taps.transpose(0, 1).flatten(1).double()
    root = torch.linalg.cholesky(with_ridge(flat @ flat.T / flat.shape[1]))

    # The strongest directions of the map, back from uncorrelated taps to the taps themselves.
    directions = torch.linalg.svd(joint @ root, full_matrices=False).Vh[: fusion.out_channels]
    kernel = torch.linalg.solve_triangular(root, directions, upper=False, left=False)
    fusion.weight.copy_(kernel[:, :, None, None])
    if fusion.bias is not None:
        fusion.bias.zero_()
    fit_last_convolution(whole, lr, target)
    return whole


def _read_taps(net: Network, lr: Tensor) -> Tensor:
    """Return what the fusion sees, (N, C, h, w)."""
    seen: list[Tensor] = []
    hook = net.fusion.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    net(lr)
    hook.remove()
    return seen[0]


def _fit_joint_kernel(taps: Tensor, image_rows: Tensor, *, kernel: int) -> Tensor:
    """Fit one k x k convolution from taps to image; return it as (outputs * k * k, taps)."""
    channels, outputs = taps.shape[1], image_rows.shape[1]
    size = channels * kernel**2 + 1  # and a bias
    gram = torch.zeros(size, size, dtype=torch.float64)
    cross = torch.zeros(size, outputs, dtype=torch.float64)
    for start in range(0, len(taps), CHUNK):
        part = slice(start, start + CHUNK)
        columns = F.pad(F.unfold(taps[part], kernel, padding=kernel // 2), (0, 0, 0, 1), value=1.0)
        seen = columns.transpose(1, 2).flatten(0, 1)
        gram += (seen.T @ seen).double()
        cross += (seen.T @ image_rows[part].flatten(2).transpose(1, 2).flatten(0, 1)).double()

    weights = solve(gram, cross)[:-1].double()
    return weights.reshape(channels, kernel**2, outputs).permute(2, 1, 0).reshape(-1, channels)
