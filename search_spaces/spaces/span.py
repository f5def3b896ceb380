"""The space around SPAN, SPANF and SPANV2: SPABs between a stem and a fused head."""

import math
from dataclasses import dataclass

from search_spaces.attentions import ATTENTION_NAMES
from search_spaces.chooser import Chooser, S
from search_spaces.limits import MAX_BLOCKS, MAX_CHANNELS
from search_spaces.spec import SCALES, ArchSpec, BlockSpec, Scalar

WORDS = {  # the activations are spelled again in a table that needs torch: a test holds both equal
    "entry": ("stem", "block"),
    "attention": ATTENTION_NAMES,
    "activation": ("silu", "relu", "leaky_relu", "leaky_relu_0.1", "hardswish", "gelu"),
    "skip": ("none", "near", "bilinear", "nearest"),
    "taps": ("all", "ends", "last"),
    "head": ("conv", "separable"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanSpace:
    """SPAN-like networks; each field lists the options of a decision, a list of one is none.

    Attributes:
        scale: upscale factor of every member.
        entry: `stem`: a convolution before the blocks and one after them, as SPAN; `block`: the
            first block is a plain stack that takes the image, as SPANF and SPANV2.
        normalise: whether members with a stem see 255 * (image - mean), as SPAN does.
        num_blocks: number of blocks, the stack of `entry: block` among them.
        channels: feature channels.
        block_channels: width of each block, as a share of `channels`, to the next multiple of four.
        tail_channels: width of the fused features, as a share of `channels`, likewise.
        attention, activation: of every block.
        bias: whether convolutions have biases.
        skip: branch from the image: `near` into the fusion, `bilinear` or `nearest` onto the
            output.
        taps: fused features: `last` alone; `ends`, with the first block and the stem; `all`, with
            the last block's inner feature too, as SPAN.
        head: `conv`: 1x1 fusion, 3x3 to the image, as SPAN; `separable`: depthwise 3x3, 1x1, as
            SPANV2.

    Example:
        >>> import random
        >>> from search_spaces.chooser import RandomChooser, decisions
        >>> space = SpanSpace(
        ...     scale=4, entry=["stem"], normalise=True, num_blocks=[2, 3], channels=[16, 28],
        ...     block_channels=[1.0], tail_channels=[1.0], attention=["parameter_free", "none"],
        ...     activation=["silu"], bias=[True], skip=["none"], taps=["all"], head=["conv"],
        ... )
        >>> list(decisions(space))
        ['num_blocks', 'channels', 'attention']
        >>> space.sample(RandomChooser(random.Random(0))).stem.kind
        'conv'
    """

    scale: int
    entry: list[str]
    normalise: bool
    num_blocks: list[int]
    channels: list[int]
    block_channels: list[float]
    tail_channels: list[float]
    attention: list[str]
    activation: list[str]
    bias: list[bool]
    skip: list[str]
    taps: list[str]
    head: list[str]

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ValueError(f"space.scale must be one of {SCALES}, got {self.scale}")

        # Bounds keep a typo from building a network of gigabytes.
        for name, most in (("num_blocks", MAX_BLOCKS), ("channels", MAX_CHANNELS)):
            for value in getattr(self, name):
                if not 1 <= value <= most:
                    raise ValueError(
                        f"space.{name} must be at least 1 and at most {most}, got {value}; such as "
                        "28"
                    )

        for name in ("block_channels", "tail_channels"):
            for value in getattr(self, name):
                if not 0 < value <= 4:
                    raise ValueError(
                        f"space.{name} must be above 0 and at most 4, got {value}; 1.0 is full "
                        "width"
                    )

        # Words are checked here, so that a typo is refused before torch is loaded.
        for name, known in WORDS.items():
            for value in getattr(self, name):
                if value not in known:
                    raise ValueError(
                        f"space.{name}: {value!r} is not known; known: {', '.join(known)}"
                    )

        for name in self.__dataclass_fields__:
            # An option that stands there twice would be drawn twice as often.
            options = getattr(self, name)
            if isinstance(options, list) and (not options or len(set(options)) < len(options)):
                raise ValueError(
                    f"space.{name} must list at least one option and none twice, got {options}"
                )

    def sample(self, chooser: Chooser) -> ArchSpec:
        """Return one member; every decision is asked, and those without effect are dropped."""
        # The order and the names below are those of every study of this space: keep them.
        entry = _pick_option(chooser, "entry", self.entry)
        num_blocks = _pick_option(chooser, "num_blocks", self.num_blocks)
        channels = _pick_option(chooser, "channels", self.channels)
        shares = [
            _pick_option(chooser, f"block{i + 1}.channels", self.block_channels)
            for i in range(max(self.num_blocks))
        ]
        tail = _round_width(channels, _pick_option(chooser, "tail_channels", self.tail_channels))
        attention = _pick_option(chooser, "attention", self.attention)
        activation = _pick_option(chooser, "activation", self.activation)
        bias = _pick_option(chooser, "bias", self.bias)
        skip = _pick_option(chooser, "skip", self.skip)
        taps = _pick_option(chooser, "taps", self.taps)
        head = _pick_option(chooser, "head", self.head)

        # From here on nothing is asked: the picks become layers.
        with_stem = entry == "stem"
        widths = [_round_width(channels, share) for share in shares[:num_blocks]]
        shared: dict[str, Scalar] = {"activation": activation, "attention": attention, "bias": bias}
        blocks = [BlockSpec.of("spab", channels=width, **shared) for width in widths]
        stem = BlockSpec.of("conv", channels=channels, kernel=3, bias=bias)
        if head == "conv":
            fusion = BlockSpec.of("conv", channels=tail, kernel=1, bias=bias)
        else:
            fusion = BlockSpec.of("depthwise", kernel=3, bias=bias)

        return ArchSpec(
            scale=self.scale,
            normalise=self.normalise and with_stem,
            stem=stem if with_stem else None,
            blocks=_make_body(blocks, with_stem=with_stem, bias=bias),
            taps=_name_taps(taps, with_stem, num_blocks, skip),
            fusion=fusion,
            upsampler=BlockSpec.of("pixel_shuffle", kernel=3 if head == "conv" else 1, bias=bias),
            skip=_make_skip(skip),
            train_form=BlockSpec.of("conv3xc", gain=2),
        )


def _make_body(blocks: list[BlockSpec], *, with_stem: bool, bias: bool) -> tuple[BlockSpec, ...]:
    """Return the body of some SPABs: a convolution after them, or a stack in place of the first."""
    if with_stem:
        last = dict(blocks[-1].args)["channels"]
        return (*blocks, BlockSpec.of("conv", channels=last, kernel=3, bias=bias))

    # As released: SPANF's stack ends linear and has biases, SPANV2's is activated and has none.
    args = {name: value for name, value in blocks[0].args if name != "attention"}
    stack = BlockSpec.of("conv_stack", **args, activate_last=not bias)
    return (stack, *blocks[1:])


def _pick_option(chooser: Chooser, name: str, options: list[S]) -> S:
    return options[0] if len(options) == 1 else chooser.pick(name, options)


def _round_width(channels: int, share: float) -> int:
    return channels if share == 1 else max(4, 4 * math.floor(channels * share / 4 + 0.5))


def _name_taps(kind: str, with_stem: bool, num_blocks: int, skip: str) -> tuple[str, ...]:
    """Return the tapped features in SPAN's order: stem, last, first block, inner.

    The near branch stands before all of them, as SPANF has it.
    """
    end = num_blocks + 1 if with_stem else num_blocks

    # Names in channel order: released weights of the fusion are in this order.
    names = ["stem"] if with_stem and kind != "last" else []
    names.append(f"block{end}")
    if kind != "last":
        names.append("block1")
    if kind == "all":
        names.append(f"block{num_blocks}.inner")
    front = ["skip"] if skip == "near" else []
    return tuple(dict.fromkeys(front + names))


def _make_skip(kind: str) -> BlockSpec | None:
    if kind == "none":
        return None
    return BlockSpec.of("near", kernel=3, bias=False) if kind == "near" else BlockSpec.of(kind)
