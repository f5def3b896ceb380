"""Takes the fixed base of a residual network into its last layers, in closed form.

A network that was trained as a residual over the base gives half an image. Its last layers are
linear, and some feature that they read still holds the pixels: the stem, or a near-pixel branch. So
a linear map of these features can make the base too. Where the last layers are too narrow for both,
what they make of the image is kept by its weight in the result. At the end the convolution before
the pixel shuffle is fitted to the residual plus the base.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas.data.pixels.base import bicubic_base
from nas.train.inherit.fitting import solve
from nas.train.inherit.views import project
from nas.train.start import fit_last_convolution
from search_spaces.network import Network, build
from search_spaces.spec import ArchSpec, feature_of

CHUNK = 8  # images whose columns are in memory at once
NUM_FITTED = 3 / 4  # share of the patches that are fitted; the others choose between fits
PIXEL_DIRECTIONS = (3, 6, 9, 12)  # of the stem's features that are tried, kept free for pixels
Head = Literal["separable", "joint", "added"]


def can_absorb(spec: ArchSpec) -> bool:
    """Return whether a base can be taken into networks of a spec.

    Example:
        >>> from search_spaces.published import published
        >>> can_absorb(published("span")), can_absorb(published("zenosr"))
        (True, False)
    """
    return find_head(spec) is not None


def find_head(spec: ArchSpec) -> Head | None:
    """Return how the last layers of a spec can hold pixels beside what they give.

    separable: a depthwise fusion keeps every channel that it reads. joint: a 1x1 fusion mixes the
    features that it reads with the pixels. added: the stem is added to what the last convolution
    before the upsampler gives. None: in none of these ways.
    """
    if spec.upsampler.kind != "pixel_shuffle" or any(part.kind == "pad" for part in spec.wrap):
        return None
    near_pixels = spec.skip is not None and spec.skip.kind == "near"
    if spec.skip is not None and not near_pixels:
        return None

    # What is added to the fused features is the stem itself, and nothing else.
    if spec.residuals:
        added = [part for part in spec.residuals if part.kind == "identity"]
        is_stem = len(spec.residuals) == len(added) == 1 and feature_of(added[0]) == "stem"
        last = spec.tail[-1] if spec.tail else spec.fusion
        return "added" if is_stem and last.kind == "conv" and not near_pixels else None

    if spec.tail or spec.scaled_taps or not {"stem", "skip"} & {*spec.taps}:
        return None
    if spec.fusion.kind == "depthwise":
        return "separable"
    return "joint" if spec.fusion.kind == "conv" and dict(spec.fusion.args)["kernel"] == 1 else None


@torch.no_grad()
def absorb_base(net: Network, spec: ArchSpec, lr: Tensor) -> Network:
    """Return a network that gives by itself what a residual and its base give together.

    Args:
        net: the residual network, plain.
        spec: of the whole network, which `can_absorb` takes.
        lr: patches to fit on, (N, 3, h, w), on the network's device.

    Source: reduced-rank regression, weighed by the data: Izenman, Reduced-rank regression for the
        multivariate linear model, 1975; as in the closed-form start of a pruned tail.
    """
    whole = build(spec).to(lr.device)
    whole.load_state_dict(net.state_dict())
    target = net(lr) + bicubic_base(lr, spec.scale)

    head = find_head(spec)
    if head == "added":
        return _share_with_stem(whole, lr, target)
    if head == "joint":
        _mix_jointly(whole, lr, target)
    fit_last_convolution(whole, lr, target)
    return whole


def _mix_jointly(whole: Network, lr: Tensor, target: Tensor) -> None:
    """Change a 1x1 fusion: of all mixtures of its inputs to those that the target is made of."""
    fusion, last = whole.fusion, whole.upsampler.conv
    assert isinstance(fusion, nn.Conv2d)
    assert isinstance(last, nn.Conv2d)
    taps = _read_features(whole, fusion, lr, "input")
    image_rows = F.pixel_unshuffle(target, whole.spec.scale)
    kernel = _fit_kernel(taps, image_rows, size=last.kernel_size[0])
    mixture = project(_to_rows(taps), kernel, fusion.out_channels)

    # Their features have unit size, so that no later step moves one far more than another.
    fusion.weight[: len(mixture)] = mixture[:, :, None, None]
    if fusion.bias is not None:
        fusion.bias.zero_()


def _share_with_stem(whole: Network, lr: Tensor, target: Tensor) -> Network:
    """Return a network whose features leave the stem's main directions to the stem's pixels.

    How many directions the pixels need is tried: on patches that were not fitted.
    """
    conv = whole.tail[-1] if whole.spec.tail else whole.fusion  # type: ignore[index]
    last = whole.upsampler.conv
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(last, nn.Conv2d)
    features = _to_rows(_read_features(whole, conv, lr, "output"))
    assert whole.stem is not None
    stem = _to_rows(_read_features(whole, whole.stem, lr, "output"))
    directions = torch.linalg.eigh(torch.cov(stem.T.double())).eigenvectors.float()  # rising
    weight, bias = conv.weight.clone(), None if conv.bias is None else conv.bias.clone()
    kernel = last.weight.clone()

    num = int(len(lr) * NUM_FITTED)
    errors: dict[int, tuple[float, dict[str, Tensor]]] = {}
    for reserved in PIXEL_DIRECTIONS:
        if reserved >= conv.out_channels:
            continue
        kept = conv.out_channels - reserved
        mix = directions[:, :kept] @ project(features, kernel, kept)
        conv.weight.copy_(torch.einsum("ij,jchw->ichw", mix, weight))
        if conv.bias is not None:
            conv.bias.copy_(mix @ bias)
        fit_last_convolution(whole, lr[:num], target[:num])
        error = F.mse_loss(whole(lr[num:]), target[num:]).item()
        state = {name: value.clone() for name, value in whole.state_dict().items()}
        errors[reserved] = error, state

    best = min(errors.values(), key=lambda pair: pair[0])
    whole.load_state_dict(best[1])
    return whole


def _read_features(
    net: Network, module: nn.Module, lr: Tensor, side: Literal["input", "output"]
) -> Tensor:
    """Return what a part of a network reads or gives, (N, C, h, w)."""
    seen: list[Tensor] = []
    hook = module.register_forward_hook(
        lambda _, inputs, output: seen.append(inputs[0] if side == "input" else output)
    )
    net(lr)
    hook.remove()
    return seen[0]


def _to_rows(features: Tensor) -> Tensor:
    """Return features as rows of channels, (N h w, C)."""
    return features.transpose(0, 1).flatten(1).T


def _fit_kernel(features: Tensor, outputs: Tensor, *, size: int) -> Tensor:
    """Fit a convolution by ridge regression; return its kernel, (outputs, C, size, size).

    Args:
        features: (N, C, h, w).
        outputs: (N, outputs, h, w), of all features alike but for a bias, which is fitted too.
    """
    channels, num_outputs = features.shape[1], outputs.shape[1]
    count = channels * size**2 + 1
    gram = torch.zeros(count, count, dtype=torch.float64, device=features.device)
    cross = torch.zeros(count, num_outputs, dtype=torch.float64, device=features.device)
    for start in range(0, len(features), CHUNK):
        part = slice(start, start + CHUNK)
        columns = F.unfold(features[part], size, padding=size // 2)
        seen = F.pad(columns, (0, 0, 0, 1), value=1.0).transpose(1, 2).flatten(0, 1)
        wanted = outputs[part].flatten(2).transpose(1, 2).flatten(0, 1)
        gram += (seen.T @ seen).double()
        cross += (seen.T @ wanted).double()

    weights = solve(gram, cross)[:-1]
    return weights.T.reshape(num_outputs, channels, size, size)
