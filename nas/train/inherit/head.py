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
    """Fit the last two layers of a child.

    Args:
        teacher: the parent.
        child: the child, whose blocks are fitted already.
        walk: the walk that fitted them.
        target: what the child is to give, (N, 3, scale H, scale W); None: the parent's output.
    """
    pixels = teacher.pixels

    # What the layers themselves are to give: the target less a fixed skip branch, if there is one.
    target_rows = teacher.features["out"]
    if target is not None:
        target_rows = pixels.rows(F.pixel_unshuffle(target, child.spec.scale))
    if has_fixed_skip(child.spec):
        assert child.skip is not None
        target_rows = target_rows - pixels.rows(
            F.pixel_unshuffle(child.skip(teacher.images), child.spec.scale)
        )
    elif target is None and not has_fixed_skip(teacher.spec):
        target_rows = teacher.features["up"]

    # The fusion reads the features that the child's own taps name.
    x = torch.cat([walk.taps[tap] for tap in child.spec.taps], 1)
    up = _map_taps(teacher.spec, child.spec, walk)
    if is_separable(child.spec):
        _fit_separable(teacher, child, x, up, target_rows)
    else:
        _fit_dense(teacher, child, x, up, target_rows)


def is_separable(spec: ArchSpec) -> bool:
    """Return whether the fusion is depthwise, so that it keeps its channels."""
    return spec.fusion.kind == "depthwise"


def _map_taps(theirs: ArchSpec, ours: ArchSpec, walk: Walk) -> Tensor:
    """Return the map from the child's concatenated taps to the parent's.

    It is (parent's channels, child's channels), and zero for taps that the child does not have.
    """
    widths = {tap: walk.taps[tap].shape[1] for tap in ours.taps}
    rows = []
    for their_tap in theirs.taps:
        # The child's tap that stands for this one; near-pixel colours stand before pixel shuffle.
        same_tap = next((tap for tap in ours.taps if walk.sources.get(tap) == their_tap), None)
        height = 3 * theirs.scale**2 if their_tap == "skip" else walk.theirs[their_tap].shape[1]
        row = [
            walk.views[tap].up if tap == same_tap else torch.zeros(height, widths[tap])
            for tap in ours.taps
        ]
        rows.append(torch.cat(row, 1))

    return torch.cat(rows, 0)


def _merge_separable(net: Network) -> Tensor:
    """Multiply a separable head out to one dense kernel, (outputs, tapped channels, k, k)."""
    return convolution(net.upsampler.conv).weight * convolution(net.fusion).weight.transpose(0, 1)


def _fit_dense(
    teacher: Teacher, child: Network, x: Tensor, up: Tensor, target_rows: Tensor
) -> None:
    """Fit a 1x1 convolution to the fused features, then a k x k one to the image.

    A separable parent is read as the concatenated taps themselves and one dense kernel over them.
    """
    pixels, net = teacher.pixels, teacher.net
    fusion, last = convolution(child.fusion), convolution(child.upsampler.conv)
    if is_separable(teacher.spec):
        middle = torch.cat([teacher.features[tap] for tap in teacher.spec.taps], 1)
        read, bias, kernel = torch.eye(middle.shape[1]), None, _merge_separable(net)
    else:
        theirs = convolution(net.fusion)
        middle = teacher.features["fused"]
        read, bias, kernel = (
            theirs.weight.flatten(1),
            theirs.bias,
            convolution(net.upsampler.conv).weight,
        )

    # A smaller kernel of the parent stands in the middle of the child's.
    if kernel.shape[-1] != last.kernel_size[0]:
        kernel = F.pad(kernel, [(last.kernel_size[0] - kernel.shape[-1]) // 2] * 4)

    # The 1x1: of all linear combinations those of which the last convolution makes most.
    down = project(middle, kernel, fusion.out_channels)
    fit = Fit(fusion, x, pixels, kept=len(down))
    fit.start((down @ read @ up)[:, :, None, None], None if bias is None else down @ bias)
    fit.to(middle @ down.T)

    # The k x k, on what the 1x1 gives now.
    fused = child.fusion(x)
    view = View.between(down, middle, pixels.rows(fused))
    fit = Fit(last, fused, pixels, kept=last.out_channels)
    fit.start(torch.einsum("oihw,ij->ojhw", kernel, view.up), _merge_bias(net))
    fit.to(target_rows)


def _merge_bias(net: Network) -> Tensor | None:
    """Return the bias of a whole head; of a separable one as it is away from the borders."""
    bias = convolution(net.upsampler.conv).bias
    if is_separable(net.spec):
        inner = convolution(net.fusion).bias
        if inner is not None:
            through = convolution(net.upsampler.conv).weight.sum((2, 3)) @ inner
            bias = through if bias is None else bias + through
    return bias


def _fit_separable(
    teacher: Teacher, child: Network, x: Tensor, up: Tensor, target_rows: Tensor
) -> None:
    """Fit a depthwise k x k convolution and a 1x1 to the image: at the parent's, then by turns."""
    pixels = teacher.pixels
    depth, point = convolution(child.fusion), convolution(child.upsampler.conv)
    if is_separable(teacher.spec):
        kernel = _take_separable(teacher.net, depth, up)
    else:
        kernel = _split_kernels(teacher.net, depth, up)

    def fit_point() -> Fit:
        return Fit(point, child.fusion(x), pixels, kept=point.out_channels)

    fit = fit_point()
    fit.start(kernel[:, :, None, None], convolution(teacher.net.upsampler.conv).bias)
    if is_close(fit.outputs(), target_rows):
        return
    fit.to(target_rows)

    # Alternating least squares: each of the two layers is linear while the other one is kept.
    every = max(1, len(target_rows) // SEPARABLE_ROWS)
    columns = pixels.columns(x, depth.kernel_size[0])[::every]
    gram = columns.T @ columns
    for _ in range(ROUNDS):
        residual = (target_rows - fit_point().outputs())[::every]
        _refit_depthwise(depth, point.weight.flatten(1), gram, columns, residual)
        fit_point().to(target_rows)


def _take_separable(net: Network, depth: nn.Conv2d, up: Tensor) -> Tensor:
    """Give each channel the depthwise kernel of the parent's channel that it is most like.

    Returns:
        The weights of the 1x1 after it, (outputs, C).
    """
    theirs = convolution(net.fusion)
    like = up.abs().argmax(0)
    used = up.abs().amax(0) > 0
    kernels = torch.where(used[:, None, None, None], theirs.weight[like], _identity_kernels(depth))
    depth.weight.copy_(kernels)
    if depth.bias is not None:
        depth.bias.copy_(
            torch.zeros(len(like)) if theirs.bias is None else theirs.bias[like] * used
        )

    return convolution(net.upsampler.conv).weight.flatten(1) @ up


def _split_kernels(net: Network, depth: nn.Conv2d, up: Tensor) -> Tensor:
    """Give each channel the depthwise kernel nearest to its part of the parent's dense head.

    Its part is a matrix (outputs, k*k); the first singular vectors are its best product of a column
    and a kernel (Eckart and Young, 1936).

    Returns:
        The weights of the 1x1 after it, (outputs, C).
    """
    read = torch.einsum(
        "omhw,mi->oihw",
        convolution(net.upsampler.conv).weight,
        convolution(net.fusion).weight.flatten(1),
    )

    # In the child's channels: each reads its share of the parent's.
    ours = torch.einsum("oihw,ij->johw", read, up).flatten(2)
    u, s, v = torch.linalg.svd(ours, full_matrices=False)

    # A channel that the parent's head does not read keeps its values, with weights of zero.
    used = s[:, 0] > 1e-9 * s.max()
    depth.weight.copy_(
        torch.where(
            used[:, None, None, None], v[:, 0].view_as(depth.weight), _identity_kernels(depth)
        )
    )
    if depth.bias is not None:
        depth.bias.zero_()
    columns: Tensor = u[:, :, 0] * (s[:, 0] * used)[:, None]
    return columns.T


def _identity_kernels(depth: nn.Conv2d) -> Tensor:
    """Make kernels that pass each channel on unchanged."""
    kernels = torch.zeros_like(depth.weight)
    middle = depth.kernel_size[0] // 2
    kernels[:, :, middle, middle] = 1.0
    return kernels


def _refit_depthwise(
    depth: nn.Conv2d, point: Tensor, gram: Tensor, columns: Tensor, residual: Tensor
) -> None:
    """Fit the depthwise kernels by least squares, given the 1x1 after them, `point` (outputs, C).

    The output is linear in tap k of channel c with the factor point[:, c], so the normal equations
    are those of the taps, `gram` (C k^2, C k^2), times the inner products of these factors.
    """
    taps = depth.weight[0].numel()
    mixed = (point.T @ point).repeat_interleave(taps, 0).repeat_interleave(taps, 1)
    cross = (columns * (residual @ point).repeat_interleave(taps, 1)).sum(0)
    change = solve((mixed * gram).double(), cross[:, None].double())
    depth.weight += change.view_as(depth.weight)
