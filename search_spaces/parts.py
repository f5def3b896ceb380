"""The parts of a network: a spec's layers in order, with the channels that each of them takes."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from search_spaces.blocks import BLOCKS
from search_spaces.blocks.context import reads_context
from search_spaces.frame import SKIPS, UPSAMPLERS, WRAPS
from search_spaces.layers.conv import ConvFactory, plain_conv
from search_spaces.layers.scale import ChannelScale
from search_spaces.reparam import TrainingConv
from search_spaces.reparam.forms import training_conv
from search_spaces.spec import ArchSpec, BlockSpec, feature_of

WORDS = {
    int: "a whole number",
    float: "a number with a point (1.0e-5)",
    str: "text",
    bool: "true or false",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a network, its name, and its input channels.

    Names: wrap1, ..., stem, block1, ..., tap1, ..., fusion, tail1, ..., residual1, ..., upsampler, skip.
    """

    name: str
    block: BlockSpec
    in_channels: int

    @property
    def is_feature(self) -> bool:
        """Whether the architecture's training form is its too: stem and blocks."""
        return self.name.startswith(("stem", "block"))


def parts(spec: ArchSpec) -> list[Part]:
    """The parts of a network, in the order in which they are made; its cost is the sum of theirs.

    Raises:
        ValueError: a residual is not as wide as what it is added to.
    """
    found = [
        Part(name=f"wrap{i}", block=layer, in_channels=3)
        for i, layer in enumerate(spec.wrap, start=1)
    ]
    widths = feature_widths(spec)
    channels = 3
    for name, block in _list_features(spec):
        found.append(Part(name=name, block=block, in_channels=channels))
        channels = widths[name]
    if spec.scaled_taps:
        scale = BlockSpec.of("channel_scale")
        found += [
            Part(name=f"tap{i}", block=scale, in_channels=widths[t])
            for i, t in enumerate(spec.taps, 1)
        ]
    channels = sum(widths[tap] for tap in spec.taps)
    after = [
        ("fusion", spec.fusion),
        *((f"tail{i}", block) for i, block in enumerate(spec.tail, start=1)),
    ]
    for name, block in after:
        found.append(Part(name=name, block=block, in_channels=channels))
        channels = _read_width(block, channels)
    found += _list_residuals(spec, widths, channels)
    found.append(Part(name="upsampler", block=spec.upsampler, in_channels=channels))
    if spec.skip:
        found.append(Part(name="skip", block=spec.skip, in_channels=3))
    return found


def feature_widths(spec: ArchSpec) -> dict[str, int]:
    """The channels of every feature that a tap or a residual may name."""
    channels, widths = 3, {"skip": 3 * spec.scale**2}
    for name, block in _list_features(spec):
        channels = widths[name] = widths[f"{name}.inner"] = _read_width(block, channels)
    return widths


def _list_features(spec: ArchSpec) -> list[tuple[str, BlockSpec]]:
    stem = [("stem", spec.stem)] if spec.stem else []
    return [*stem, *((f"block{i}", block) for i, block in enumerate(spec.blocks, start=1))]


def _list_residuals(spec: ArchSpec, widths: dict[str, int], channels: int) -> list[Part]:
    found = []
    for i, block in enumerate(spec.residuals, start=1):
        feature = feature_of(block)
        plain = BlockSpec.of(block.kind, **{k: v for k, v in block.args if k != "feature"})
        part = Part(name=f"residual{i}", block=plain, in_channels=widths[feature])
        if (width := _read_width(plain, part.in_channels)) != channels:
            raise ValueError(
                f"residuals: {block.kind!r} of {feature} has {width} channels, the fused features have "
                f"{channels}; give both the same width"
            )
        found.append(part)
    return found


def make_part(part: Part, scale: int, make_conv: ConvFactory = plain_conv) -> nn.Module:
    """Make one part.

    Raises:
        ValueError: a kind or an argument is not known, or a block cannot take its channels; the message
            starts with the part's name.
    """
    try:
        return _make_by_role(part, scale, make_conv)
    except ValueError as error:
        raise ValueError(f"{part.name}: {error}") from error


def _make_by_role(part: Part, scale: int, make_conv: ConvFactory) -> nn.Module:
    if part.name == "upsampler":
        make = functools.partial(
            _look_up_kind("upsampler", part.block, UPSAMPLERS), part.in_channels, scale=scale
        )
        return _call_with_args(functools.partial(make, make_conv=make_conv), part.block)
    if part.name == "skip":
        return _call_with_args(
            functools.partial(_look_up_kind("skip", part.block, SKIPS), scale), part.block
        )
    if part.name.startswith("wrap"):
        return _call_with_args(
            functools.partial(_look_up_kind("wrap", part.block, WRAPS)), part.block
        )
    if part.name.startswith("tap"):
        return ChannelScale(part.in_channels)
    return make_block(part.block, part.in_channels, make_conv)


def make_block(block: BlockSpec, in_channels: int, make_conv: ConvFactory) -> nn.Module:
    """Make one block, with those that it holds.

    Raises:
        ValueError: as `make_part`.
    """
    make = functools.partial(
        _look_up_kind("block kind", block, BLOCKS), in_channels, make_conv=make_conv
    )
    if "blocks" in inspect.signature(make).parameters:
        inner: list[nn.Module] = []
        channels = in_channels
        for one in block.blocks:
            inner.append(make_block(one, channels, _choose_factory(one, make_conv)))
            channels = _read_width(one, channels)
        if channels != in_channels:
            raise ValueError(
                f"{block.kind}.blocks must keep the width, got {in_channels} -> {channels} channels"
            )
        make = functools.partial(make, blocks=inner)
    elif block.blocks:
        raise ValueError(f"block {block.kind!r} holds no blocks; a group does")
    return _call_with_args(make, block)


def _choose_factory(block: BlockSpec, make_conv: ConvFactory) -> ConvFactory:
    """A block within a group may name a training form of its own; it counts where forms are asked for."""
    if block.train_form is None:
        return make_conv
    own = training_conv(block.train_form)
    return own if isinstance(make_conv, TrainingConv) else make_conv


def _look_up_kind(
    what: str, block: BlockSpec, table: dict[str, Callable[..., Any]]
) -> Callable[..., Any]:
    if block.kind not in table:
        raise ValueError(f"{what} {block.kind!r} is not known; known: {', '.join(table)}")
    return table[block.kind]


def _call_with_args(make: "functools.partial[Any]", block: BlockSpec) -> nn.Module:
    """Call with a spec's arguments; what is missing or unknown is named."""
    wanted = {
        name: p.annotation
        for name, p in inspect.signature(make).parameters.items()
        if p.kind is p.KEYWORD_ONLY and name not in make.keywords
    }
    given = {name for name, _ in block.args}
    if wanted.keys() != given:
        wrong = f"missing {sorted(wanted.keys() - given)}, unknown {sorted(given - wanted.keys())}"
        raise ValueError(f"block {block.kind!r} takes the arguments {sorted(wanted)}: {wrong}")
    for (
        name,
        value,
    ) in block.args:  # 1 is no True and 3.0 no 3: they would be two specs of one network
        if wanted[name] in WORDS and type(value) is not wanted[name]:
            raise ValueError(f"{block.kind}.{name} must be {WORDS[wanted[name]]}, got {value!r}")
    module: nn.Module = make(**dict(block.args))
    return module


def _read_width(block: BlockSpec, in_channels: int) -> int:
    """The number of channels that a block gives: its own, or its input's where it keeps them."""
    return int(dict(block.args).get("channels", in_channels))


def check_context(made: Sequence[tuple[str, nn.Module]]) -> None:
    """Check that what a block reads beside its input was given by a block before it.

    Raises:
        ValueError: it was not; the message names both. Or a part that is no block reads or gives something.
    """
    known = {"image"}
    for name, block in made:
        if not name.startswith("block"):
            if reads_context(block):
                raise ValueError(
                    f"{name} is a {type(block).__name__}, which takes or hands on more than features; put it "
                    "among the blocks"
                )
            continue
        if missing := sorted(getattr(block, "reads", frozenset()) - known):
            raise ValueError(
                f"blocks: {name} reads {', '.join(missing)}, which no block before it gives; "
                f"put one that does before it ({', '.join(_find_givers(missing))})"
            )
        known |= getattr(block, "gives", frozenset())


def _find_givers(names: Sequence[str]) -> list[str]:
    return [
        kind for kind, made in BLOCKS.items() if set(names) & getattr(made, "gives", frozenset())
    ]
