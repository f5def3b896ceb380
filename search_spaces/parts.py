"""The parts of a network: a spec's layers in order, with the channels that each of them takes."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from search_spaces.blocks import BLOCKS
from search_spaces.blocks.context import reads_context
from search_spaces.frame import SKIPS, UPSAMPLERS, WRAPS
from search_spaces.layers.conv import ConvFactory, plain_conv
from search_spaces.layers.scale import ChannelScale
from search_spaces.reparam import TrainingConv
from search_spaces.reparam.forms import training_conv
from search_spaces.spec import ArchSpec, BlockSpec, feature_of

Role = Literal["wrap", "stem", "block", "tap", "fusion", "tail", "residual", "upsampler", "skip"]
IMAGE_CHANNELS = 3

# How a message names the types that an argument of a spec can have.
TYPE_WORDS = {
    int: "a whole number",
    float: "a number with a point (1.0e-5)",
    str: "text",
    bool: "true or false",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One layer of a spec, what it is for in the network, and the channels that it takes.

    Attributes:
        role: what the part is for.
        name: how messages call it: the role and, where there may be several, their count
            (`block3`).
        block: the layer's kind and arguments.
        in_channels: channels of its input.
    """

    role: Role
    name: str
    block: BlockSpec
    in_channels: int

    @property
    def is_feature(self) -> bool:
        """Whether the part is held in the architecture's training form: stem and blocks are."""
        return self.role in ("stem", "block")


def parts(spec: ArchSpec) -> list[Part]:
    """List the parts of a network in the order in which they are made.

    The cost of a network is the sum of its parts' costs.

    Raises:
        ValueError: a residual is not as wide as what it is added to.
    """
    listed = [
        Part(role="wrap", name=f"wrap{i}", block=layer, in_channels=IMAGE_CHANNELS)
        for i, layer in enumerate(spec.wrap, start=1)
    ]

    # The body: stem and blocks, each over the features of the one before it.
    widths = feature_widths(spec)
    channels = IMAGE_CHANNELS
    for role, name, block in _list_features(spec):
        listed.append(Part(role=role, name=name, block=block, in_channels=channels))
        channels = widths[name]

    # The head: the tapped features are scaled, concatenated, fused and refined by the tail.
    if spec.scaled_taps:
        scale = BlockSpec.of("channel_scale")
        for i, tap in enumerate(spec.taps, start=1):
            listed.append(Part(role="tap", name=f"tap{i}", block=scale, in_channels=widths[tap]))

    channels = sum(widths[tap] for tap in spec.taps)
    listed.append(Part(role="fusion", name="fusion", block=spec.fusion, in_channels=channels))
    channels = read_width(spec.fusion, channels)
    for i, block in enumerate(spec.tail, start=1):
        listed.append(Part(role="tail", name=f"tail{i}", block=block, in_channels=channels))
        channels = read_width(block, channels)

    # What is added to the head's features, and the way to the image.
    listed += _list_residuals(spec, widths, channels)
    listed.append(
        Part(role="upsampler", name="upsampler", block=spec.upsampler, in_channels=channels)
    )
    if spec.skip:
        listed.append(Part(role="skip", name="skip", block=spec.skip, in_channels=IMAGE_CHANNELS))
    return listed


def feature_widths(spec: ArchSpec) -> dict[str, int]:
    """Return the channels of every feature that a tap or a residual may name, by that name."""
    widths = {"skip": IMAGE_CHANNELS * spec.scale**2}  # before the pixel shuffle
    channels = IMAGE_CHANNELS
    for _, name, block in _list_features(spec):
        channels = read_width(block, channels)
        widths[name] = widths[f"{name}.inner"] = channels
    return widths


def _list_features(spec: ArchSpec) -> list[tuple[Role, str, BlockSpec]]:
    """List role, name and layer of what makes features: the stem, if any, and the blocks."""
    listed: list[tuple[Role, str, BlockSpec]] = [("stem", "stem", spec.stem)] if spec.stem else []
    for i, block in enumerate(spec.blocks, start=1):
        listed.append(("block", f"block{i}", block))
    return listed


def _list_residuals(spec: ArchSpec, widths: dict[str, int], channels: int) -> list[Part]:
    listed = []
    for i, block in enumerate(spec.residuals, start=1):
        # The argument `feature` says what the layer reads; the layer itself does not take it.
        feature = feature_of(block)
        args = {name: value for name, value in block.args if name != "feature"}
        layer = BlockSpec.of(block.kind, **args)
        part = Part(role="residual", name=f"residual{i}", block=layer, in_channels=widths[feature])

        width = read_width(layer, part.in_channels)
        if width != channels:
            raise ValueError(
                f"residuals: {block.kind!r} of {feature} has {width} channels, the fused features "
                f"have {channels}; give both the same width"
            )
        listed.append(part)

    return listed


def make_part(part: Part, scale: int, make_conv: ConvFactory = plain_conv) -> nn.Module:
    """Return a new module of one part.

    Raises:
        ValueError: a kind or an argument is not known, or a block cannot take its channels; the
            message starts with the part's name.
    """
    try:
        return _make_by_role(part, scale, make_conv)
    except ValueError as error:
        raise ValueError(f"{part.name}: {error}") from error


def _make_by_role(part: Part, scale: int, make_conv: ConvFactory) -> nn.Module:
    if part.role == "upsampler":
        upsampler = _look_up_kind("upsampler", part.block, UPSAMPLERS)
        make = functools.partial(upsampler, part.in_channels, scale=scale, make_conv=make_conv)
        return _call_with_args(make, part.block)

    if part.role == "skip":
        skip = _look_up_kind("skip", part.block, SKIPS)
        return _call_with_args(functools.partial(skip, scale), part.block)

    if part.role == "wrap":
        wrap = _look_up_kind("wrap", part.block, WRAPS)
        return _call_with_args(functools.partial(wrap), part.block)
    if part.role == "tap":
        return ChannelScale(part.in_channels)
    return make_block(part.block, part.in_channels, make_conv)


def make_block(block: BlockSpec, in_channels: int, make_conv: ConvFactory) -> nn.Module:
    """Return a new module of one block, with the blocks that it holds.

    Raises:
        ValueError: as `make_part`.
    """
    kind = _look_up_kind("block kind", block, BLOCKS)
    make = functools.partial(kind, in_channels, make_conv=make_conv)
    if "blocks" not in inspect.signature(make).parameters:
        if block.blocks:
            raise ValueError(f"block {block.kind!r} holds no blocks; a group does")
        return _call_with_args(make, block)

    # A group: make what it holds first, each over the features of the one before it.
    held: list[nn.Module] = []
    channels = in_channels
    for inner in block.blocks:
        held.append(make_block(inner, channels, _choose_factory(inner, make_conv)))
        channels = read_width(inner, channels)

    if channels != in_channels:
        raise ValueError(
            f"{block.kind}.blocks must keep the width, got {in_channels} -> {channels} channels"
        )

    return _call_with_args(functools.partial(make, blocks=held), block)


def _choose_factory(block: BlockSpec, make_conv: ConvFactory) -> ConvFactory:
    """Return the factory of a block within a group, which may name a training form of its own."""
    if block.train_form is None:
        return make_conv
    own = training_conv(block.train_form)  # checked also where plain convolutions are asked for
    return own if isinstance(make_conv, TrainingConv) else make_conv


def _look_up_kind(
    what: str, block: BlockSpec, table: dict[str, Callable[..., Any]]
) -> Callable[..., Any]:
    if block.kind not in table:
        raise ValueError(f"{what} {block.kind!r} is not known; known: {', '.join(table)}")
    return table[block.kind]


def _call_with_args(make: "functools.partial[Any]", block: BlockSpec) -> nn.Module:
    """Call a block's constructor with the arguments of a spec.

    Raises:
        ValueError: an argument is missing, unknown or of another type; the message names it.
    """
    parameters = inspect.signature(make).parameters
    types = {
        name: parameter.annotation
        for name, parameter in parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in make.keywords
    }
    given = {name for name, _ in block.args}
    if types.keys() != given:
        missing, unknown = sorted(types.keys() - given), sorted(given - types.keys())
        raise ValueError(
            f"block {block.kind!r} takes the arguments {sorted(types)}: missing {missing}, "
            f"unknown {unknown}"
        )

    # Types are compared exactly: 1 for true or 3.0 for 3 would be a second spec of one network.
    for name, value in block.args:
        if types[name] in TYPE_WORDS and type(value) is not types[name]:
            raise ValueError(
                f"{block.kind}.{name} must be {TYPE_WORDS[types[name]]}, got {value!r}"
            )

    module: nn.Module = make(**dict(block.args))
    return module


def read_width(block: BlockSpec, in_channels: int) -> int:
    """Return the channels that a block gives: its own, or its input's where it keeps them."""
    return int(dict(block.args).get("channels", in_channels))


def check_context(made: Sequence[tuple[Part, nn.Module]]) -> None:
    """Check that what a block reads beside its input was given by a block before it.

    Raises:
        ValueError: no block before it gives that; the message names both. Or a part other than a
            block reads or gives something.
    """
    available = {"image"}
    for part, module in made:
        if part.role != "block":
            if reads_context(module):
                raise ValueError(
                    f"{part.name} is a {type(module).__name__}, which takes or hands on more than "
                    "features; put it among the blocks"
                )
            continue

        # Blocks run in order, so only what came before is there to read.
        missing = sorted(getattr(module, "reads", frozenset()) - available)
        if missing:
            raise ValueError(
                f"blocks: {part.name} reads {', '.join(missing)}, which no block before it gives; "
                f"put one that does before it ({', '.join(_find_givers(missing))})"
            )
        available |= getattr(module, "gives", frozenset())


def _find_givers(names: Sequence[str]) -> list[str]:
    """List the block kinds that give something of these names to later blocks."""
    return [
        kind for kind, made in BLOCKS.items() if set(names) & getattr(made, "gives", frozenset())
    ]
