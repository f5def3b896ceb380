"""Fusion and upsampler of a child: two linear layers over its tapped features."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.train.inherit.fitting import Fit, solve
from nas.train.inherit.teacher import Teacher, convolution, has_fixed_skip
from nas.train.inherit.views import View, is_close, project
from nas.train.inherit.walk import Walk
from search_spaces.network import Network
from search_spaces.spec import ArchSpec

ROUNDS = 4  # alternating fits of a separable head
SEPARABLE_ROWS = (
    6144  # pixels for the depthwise part, whose Gram matrix has 9 rows a tapped channel
)


def fit_head(teacher: Teacher, child: Network, walk: Walk, target: Tensor | None) -> None:
    """Fit the last two layers, to the parent's output or to a given one.

    Args:
        target: what the child is to give, (N, 3, scale*H, scale*W); the parent's output where None.
    """
    pixels = teacher.pixels
    wanted = teacher.features["out"]
    if target is not None:
        wanted = pixels.rows(F.pixel_unshuffle(target, child.spec.scale))
    if has_fixed_skip(child.spec):
        assert child.skip is not None
        wanted = wanted - pixels.rows(
            F.pixel_unshuffle(child.skip(teacher.images), child.spec.scale)
        )
    elif target is None and not has_fixed_skip(teacher.spec):
        wanted = teacher.features["up"]
    x = torch.cat([walk.taps[tap] for tap in child.spec.taps], 1)
    up = _concatenated_view(teacher.spec, child.spec, walk)
    if is_separable(child.spec):
        _fit_separable(teacher, child, x, up, wanted)
    else:
        _fit_dense(teacher, child, x, up, wanted)


def is_separable(spec: ArchSpec) -> bool:
    """Whether the fusion is depthwise and keeps its channels."""
    return spec.fusion.kind == "depthwise"


def _concatenated_view(theirs: ArchSpec, ours: ArchSpec, walk: Walk) -> Tensor:
    """The parent's concatenated taps from the child's: (their channels, our channels), zero where unknown."""
    widths = {tap: walk.taps[tap].shape[1] for tap in ours.taps}
    rows = []
    for tap in theirs.taps:
        name = "skip" if tap == "skip" else tap
        match = next((one for one in ours.taps if walk.sources.get(one) == name), None)
        height = 3 * theirs.scale**2 if tap == "skip" else walk.theirs[tap].shape[1]
        row = [
            walk.views[one].up if one == match else torch.zeros(height, widths[one])
            for one in ours.taps
        ]
        rows.append(torch.cat(row, 1))
    return torch.cat(rows, 0)


def _dense_kernel(net: Network) -> Tensor:
    """A separable head's one dense kernel, (outputs, tapped channels, k, k)."""
    return convolution(net.upsampler.conv).weight * convolution(net.fusion).weight.transpose(0, 1)


def _fit_dense(teacher: Teacher, child: Network, x: Tensor, up: Tensor, wanted: Tensor) -> None:
    """1x1 to the fused features, k x k to the image.

    A separable parent is read as the concatenated taps themselves and one dense kernel over them.
    """
    pixels, net = teacher.pixels, teacher.net
    fusion, last = convolution(child.fusion), convolution(child.upsampler.conv)
    if is_separable(teacher.spec):
        middle = torch.cat([teacher.features[tap] for tap in teacher.spec.taps], 1)
        read, bias, kernel = torch.eye(middle.shape[1]), None, _dense_kernel(net)
    else:
        theirs = convolution(net.fusion)
        middle = teacher.features["fused"]
        read, bias, kernel = (
            theirs.weight.flatten(1),
            theirs.bias,
            convolution(net.upsampler.conv).weight,
        )
    if kernel.shape[-1] != last.kernel_size[0]:
        kernel = F.pad(kernel, [(last.kernel_size[0] - kernel.shape[-1]) // 2] * 4)
    down = project(middle, kernel, fusion.out_channels)
    fit = Fit(fusion, x, pixels, kept=len(down))
    fit.start((down @ read @ up)[:, :, None, None], None if bias is None else down @ bias)
    fit.to(middle @ down.T)
    fused = child.fusion(x)
    view = View.between(down, middle, pixels.rows(fused))
    fit = Fit(last, fused, pixels, kept=last.out_channels)
    fit.start(torch.einsum("oihw,ij->ojhw", kernel, view.up), _output_bias(net))
    fit.to(wanted)


def _output_bias(net: Network) -> Tensor | None:
    """The bias of the whole head away from the borders, where it is separable."""
    bias = convolution(net.upsampler.conv).bias
    if is_separable(net.spec):
        inner = convolution(net.fusion).bias
        if inner is not None:
            through = convolution(net.upsampler.conv).weight.sum((2, 3)) @ inner
            bias = through if bias is None else bias + through
    return bias


def _fit_separable(teacher: Teacher, child: Network, x: Tensor, up: Tensor, wanted: Tensor) -> None:
    """Depthwise k x k, then 1x1 to the image: from the parent's, then fitted by turns."""
    pixels = teacher.pixels
    depth, point = convolution(child.fusion), convolution(child.upsampler.conv)
    if is_separable(teacher.spec):
        kernel = _take_separable(teacher.net, depth, up)
    else:
        kernel = _separate(teacher.net, depth, up)

    def fit_point() -> Fit:
        return Fit(point, child.fusion(x), pixels, kept=point.out_channels)

    fit = fit_point()
    fit.start(kernel[:, :, None, None], convolution(teacher.net.upsampler.conv).bias)
    if is_close(fit.outputs(), wanted):
        return
    fit.to(wanted)
    every = max(1, len(wanted) // SEPARABLE_ROWS)
    columns = pixels.columns(x, depth.kernel_size[0])[::every]
    gram = columns.T @ columns
    for _ in range(ROUNDS):
        residual = (wanted - fit_point().outputs())[::every]
        _refit_depthwise(depth, point.weight.flatten(1), gram, columns, residual)
        fit_point().to(wanted)


def _take_separable(net: Network, depth: nn.Conv2d, up: Tensor) -> Tensor:
    """Each channel takes the depthwise kernel of the parent's that it is most like; gives the 1x1."""
    theirs = convolution(net.fusion)
    like = up.abs().argmax(0)
    used = up.abs().amax(0) > 0
    kernels = torch.where(used[:, None, None, None], theirs.weight[like], _delta(depth))
    depth.weight.copy_(kernels)
    if depth.bias is not None:
        depth.bias.copy_(
            torch.zeros(len(like)) if theirs.bias is None else theirs.bias[like] * used
        )
    return convolution(net.upsampler.conv).weight.flatten(1) @ up


def _separate(net: Network, depth: nn.Conv2d, up: Tensor) -> Tensor:
    """Each channel's part of a dense head as a kernel times a column, by its first singular vectors."""
    read = torch.einsum(
        "omhw,mi->oihw",
        convolution(net.upsampler.conv).weight,
        convolution(net.fusion).weight.flatten(1),
    )
    ours = torch.einsum("oihw,ij->johw", read, up).flatten(2)
    u, s, v = torch.linalg.svd(ours, full_matrices=False)
    used = s[:, 0] > 1e-9 * s.max()
    depth.weight.copy_(
        torch.where(used[:, None, None, None], v[:, 0].view_as(depth.weight), _delta(depth))
    )
    if depth.bias is not None:
        depth.bias.zero_()
    columns: Tensor = u[:, :, 0] * (s[:, 0] * used)[:, None]
    return columns.T


def _delta(depth: nn.Conv2d) -> Tensor:
    """Kernels that pass each channel on."""
    kernels = torch.zeros_like(depth.weight)
    middle = depth.kernel_size[0] // 2
    kernels[:, :, middle, middle] = 1.0
    return kernels


def _refit_depthwise(
    depth: nn.Conv2d, point: Tensor, gram: Tensor, columns: Tensor, residual: Tensor
) -> None:
    """Least squares for the depthwise kernels, given the 1x1 after them (outputs, C).

    The output is linear in tap k of channel c with the factor point[:, c], so the normal equations are those
    of the taps (C * k^2, C * k^2) times the inner products of these factors.
    """
    taps = depth.weight[0].numel()
    mixed = (point.T @ point).repeat_interleave(taps, 0).repeat_interleave(taps, 1)
    cross = (columns * (residual @ point).repeat_interleave(taps, 1)).sum(0)
    change = solve((mixed * gram).double(), cross[:, None].double())
    depth.weight += change.view_as(depth.weight)
