"""The one assembler: a spec becomes a module here and nowhere else."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_spaces.blocks import BLOCKS
from search_spaces.blocks.conv import ConvFactory, plain_conv
from search_spaces.reparam import RepConv2d
from search_spaces.spec import FIXED_SKIPS, ArchSpec, BlockSpec

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)


class PixelShuffle(nn.Module):
    """A convolution to 3 * scale^2 channels, then pixel shuffle to (N, 3, scale*H, scale*W)."""

    def __init__(self, in_channels: int, *, scale: int, kernel: int, bias: bool) -> None:
        super().__init__()
        self.conv = plain_conv(in_channels, 3 * scale**2, kernel=kernel, bias=bias)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), self.scale)


def near_branch(scale: int, *, kernel: int, bias: bool) -> nn.Conv2d:
    """A grouped convolution 3 -> 3 * scale^2 whose start is nearest-neighbour upsampling (SPANF, SPANV2)."""
    conv = nn.Conv2d(3, 3 * scale**2, kernel, padding=kernel // 2, groups=3, bias=bias)
    nn.init.zeros_(conv.weight)
    with torch.no_grad():
        conv.weight[:, :, kernel // 2, kernel // 2] = 1.0
        if conv.bias is not None:
            conv.bias.zero_()
    return conv


class Network(nn.Module):
    """A network of the grammar: (N, 3, H, W) in [0, 1] -> (N, 3, scale*H, scale*W), not clamped."""

    mean: Tensor

    def __init__(self, spec: ArchSpec, *, make_conv: ConvFactory) -> None:
        super().__init__()
        self.spec = spec
        made = {
            part.name: make_part(part, spec.scale, make_conv if part.is_feature else plain_conv)
            for part in parts(spec)
        }
        self.stem = made.get("stem")
        self.blocks = nn.ModuleDict(
            {name.removeprefix("block"): made[name] for name in made if name.startswith("block")}
        )
        self.fusion, self.upsampler, self.skip = made["fusion"], made["upsampler"], made.get("skip")
        for i, block in enumerate(spec.blocks, start=1):
            if f"block{i}.inner" in spec.taps and not hasattr(self.blocks[str(i)], "forward_with_inner"):
                raise ValueError(
                    f"taps: block{i}.inner is not there, a {block.kind!r} block has no inner feature"
                )
        mean = torch.tensor(DIV2K_MEAN).view(1, 3, 1, 1)
        self.register_buffer("mean", mean, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        taps = self.spec.taps
        features: dict[str, Tensor] = {}
        if self.skip is not None:
            features["skip"] = self.skip(image)
        x = 255.0 * (image - self.mean) if self.spec.normalise else image
        if self.stem is not None:
            x = self.stem(x)
            features |= {"stem": x} if "stem" in taps else {}
        for name, block in self.blocks.items():
            if f"block{name}.inner" in taps:
                inner: Callable[[Tensor], tuple[Tensor, Tensor]] = getattr(block, "forward_with_inner")  # noqa: B009
                x, features[f"block{name}.inner"] = inner(x)
            else:
                x = block(x)
            features |= {f"block{name}": x} if f"block{name}" in taps else {}
        fused = torch.cat([features[tap] for tap in taps], 1) if len(taps) > 1 else features[taps[0]]
        out: Tensor = self.upsampler(self.fusion(fused))
        fixed = self.spec.skip is not None and self.spec.skip.kind in FIXED_SKIPS
        return out + features["skip"] if fixed else out

    def fold(self) -> "Network":
        """A copy in inference form: every training form computed once and kept."""
        plain = build(self.spec).to(next(self.parameters()).device, next(self.parameters()).dtype)
        state = self.state_dict()
        for name, module in self.named_modules():
            if isinstance(module, RepConv2d):
                state = {key: value for key, value in state.items() if not key.startswith(f"{name}.")}
                weight, bias = module.merged()
                state[f"{name}.weight"] = weight.detach()
                if bias is not None:
                    state[f"{name}.bias"] = bias.detach()
        plain.load_state_dict(state)
        return plain.train(self.training)


def build(spec: ArchSpec, *, train: bool = False) -> Network:
    """Make the network of a spec.

    Args:
        spec: the architecture.
        train: hold the dense 3x3 convolutions of stem and blocks in the spec's training form; the
            same function, folded by `Network.fold`.

    Raises:
        ValueError: a kind or an argument is not known, or the parts do not fit.
    """
    if not train or spec.train_form is None:
        return Network(spec, make_conv=plain_conv)
    if spec.train_form.kind != "conv3xc":
        raise ValueError(f"train_form {spec.train_form.kind!r} is not known; known: conv3xc")
    gain = int(dict(spec.train_form.args)["gain"])

    def rep_conv(in_channels: int, channels: int, *, kernel: int, bias: bool) -> nn.Module:
        if kernel == 1:
            return plain_conv(in_channels, channels, kernel=kernel, bias=bias)
        return RepConv2d(in_channels, channels, kernel=kernel, bias=bias, gain=gain)

    return Network(spec, make_conv=rep_conv)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a network: stem, block1, block2, ..., fusion, upsampler or skip; and its input channels."""

    name: str
    block: BlockSpec
    in_channels: int

    @property
    def is_feature(self) -> bool:
        """Whether its dense convolutions have training forms: stem and blocks."""
        return self.name.startswith(("stem", "block"))


def parts(spec: ArchSpec) -> list[Part]:
    """The parts of a network, in the order in which they are made; its cost is the sum of theirs."""
    found: list[Part] = []
    channels = 3
    widths = {"skip": 3 * spec.scale**2}
    features = [("stem", spec.stem)] if spec.stem else []
    features += [(f"block{i}", block) for i, block in enumerate(spec.blocks, start=1)]
    for name, block in features:
        assert block is not None
        found.append(Part(name=name, block=block, in_channels=channels))
        channels = widths[name] = widths[f"{name}.inner"] = _width(block, channels)
    channels = sum(widths[tap] for tap in spec.taps)
    found.append(Part(name="fusion", block=spec.fusion, in_channels=channels))
    found.append(Part(name="upsampler", block=spec.upsampler, in_channels=_width(spec.fusion, channels)))
    if spec.skip:
        found.append(Part(name="skip", block=spec.skip, in_channels=3))
    return found


def make_part(part: Part, scale: int, make_conv: ConvFactory = plain_conv) -> nn.Module:
    """Make one part.

    Raises:
        ValueError: a kind or an argument is not known.
    """
    if part.name == "upsampler":
        return _upsampler(part.block, part.in_channels, scale)
    if part.name == "skip":
        return _skip(part.block, scale)
    return _make(part.block, part.in_channels, make_conv)


def _make(block: BlockSpec, in_channels: int, make_conv: ConvFactory) -> nn.Module:
    if block.kind not in BLOCKS:
        raise ValueError(f"block kind {block.kind!r} is not known; known: {', '.join(BLOCKS)}")
    make = functools.partial(BLOCKS[block.kind], in_channels, make_conv=make_conv)
    return _with_args(make, block)


def _with_args(make: "functools.partial[Any]", block: BlockSpec) -> nn.Module:
    """Call with a spec's arguments; what is missing or unknown is named."""
    wanted = {
        name
        for name, p in inspect.signature(make).parameters.items()
        if p.kind is p.KEYWORD_ONLY and name not in make.keywords
    }
    given = {name for name, _ in block.args}
    if wanted != given:
        wrong = f"missing {sorted(wanted - given)}, unknown {sorted(given - wanted)}"
        raise ValueError(f"block {block.kind!r} takes the arguments {sorted(wanted)}: {wrong}")
    module: nn.Module = make(**dict(block.args))
    return module


def _width(block: BlockSpec, in_channels: int) -> int:
    """The number of channels that a block gives: its own, or its input's where it keeps them."""
    return int(dict(block.args).get("channels", in_channels))


def _upsampler(block: BlockSpec, in_channels: int, scale: int) -> nn.Module:
    if block.kind != "pixel_shuffle":
        raise ValueError(f"upsampler {block.kind!r} is not known; known: pixel_shuffle")
    return _with_args(functools.partial(PixelShuffle, in_channels, scale=scale), block)


def _skip(block: BlockSpec, scale: int) -> nn.Module:
    if block.kind == "near":
        return _with_args(functools.partial(near_branch, scale), block)
    if block.kind in FIXED_SKIPS:
        return nn.Upsample(
            scale_factor=scale, mode=block.kind, align_corners=False if block.kind == "bilinear" else None
        )
    raise ValueError(f"skip {block.kind!r} is not known; known: near, {', '.join(FIXED_SKIPS)}")
