"""Networks of every kind of layer, in places where no space puts them."""

import random

import torch

from search_spaces import ArchSpec, BlockSpec, build
from search_spaces.layers.activation import ACTIVATIONS
from search_spaces.layers.attention import ATTENTIONS

SMALL = 16  # channels of most blocks: all kinds take them


def trained_network(spec, seed=0):
    """Build a network whose weights are all random, also those that start at zero or one."""
    torch.manual_seed(seed)
    net = build(spec).eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    return net


def wild_spec(seed):
    """Return a random network of the whole grammar: mixed kinds, groups, residuals, wraps."""
    rng = random.Random(seed)
    blocks, channels = [], 3
    stem = rng.choice([None, "conv", "activated_conv"])
    if stem is not None:
        channels = SMALL
    for _ in range(rng.randint(1, 4)):
        blocks.append(_draw_block(rng, channels, blocks, depth=0))
        channels = _width(blocks[-1], channels)
    blocks.append(_spab(rng, SMALL))

    inner = [i for i, block in enumerate(blocks, start=1) if block.kind in ("spab", "conv_stack")]
    taps = [f"block{len(blocks)}"]
    if rng.random() < 0.5 and stem is not None:
        taps.append("stem")
    if rng.random() < 0.5:
        taps.append(f"block{rng.choice(inner)}.inner")
    skip = rng.choice([None, "near", "bilinear", "nearest"])
    if skip == "near":
        taps.append("skip")
    residual = rng.choice(["none", "identity", "conv"])
    residuals = {
        "none": [],
        "identity": [BlockSpec.of("identity", feature=f"block{len(blocks)}")],
        "conv": [
            BlockSpec.of("conv", feature=taps[0], channels=SMALL, kernel=1, bias=True),
            BlockSpec.of("identity", feature=f"block{len(blocks)}"),
        ],
    }[residual]
    normalise = rng.random() < 0.3
    wraps = [
        BlockSpec.of("pad", mode=rng.choice(["reflect", "symmetric"]), multiple=rng.choice([2, 8])),
        *([] if normalise else [BlockSpec.of("centre", restore=rng.random() < 0.5)]),
    ]
    rng.shuffle(wraps)
    return ArchSpec(
        scale=rng.choice([2, 3, 4]),
        normalise=normalise,
        wrap=tuple(wraps[: rng.randint(0, 2)]),
        stem=_stem(rng, stem),
        blocks=tuple(blocks),
        taps=tuple(taps),
        scaled_taps=rng.random() < 0.5,
        fusion=rng.choice(
            [
                BlockSpec.of("conv", channels=SMALL, kernel=1, bias=True),
                BlockSpec.of(
                    "activated_conv", channels=SMALL, kernel=3, activation="silu", bias=False
                ),
            ]
        ),
        tail=rng.choice([(), (BlockSpec.of("local_distillation", channels=SMALL),)]),
        residuals=tuple(residuals),
        upsampler=rng.choice(
            [
                BlockSpec.of("pixel_shuffle", kernel=3, bias=True),
                BlockSpec.of("refined_pixel_shuffle", kernel=1, bias=False, num_refine=2),
            ]
        ),
        skip=None
        if skip is None
        else BlockSpec.of(skip, **({"kernel": 1, "bias": True} if skip == "near" else {})),
    )


def _stem(rng, kind):
    if kind is None:
        return None
    activation = {"activation": rng.choice(sorted(ACTIVATIONS))} if kind != "conv" else {}
    return BlockSpec.of(kind, channels=SMALL, kernel=rng.choice([1, 3]), bias=True, **activation)


def _spab(rng, channels):
    return BlockSpec.of(
        "spab",
        channels=channels,
        activation=rng.choice(sorted(ACTIVATIONS)),
        attention=rng.choice(sorted(ATTENTIONS)),
        bias=rng.random() < 0.5,
    )


def _draw_block(rng, channels, before, depth):
    """Draw a block that takes features of some width; most want sixteen channels."""
    if channels != SMALL:
        kind = rng.choice(["conv", "conv_stack", "spab", "residual_chain"])
    else:
        has_maps = any(block.kind == "hab" for block in before)
        kinds = [
            "acb", "conv", "depthwise", "hab", "hfeb", "image_spab", "layer_norm", "mhcb", "rfdb",
            "multi_scale_conv", "local_distillation", "residual_chain", "safm", "scab", "spab",
            "wavelet",
        ]  # fmt: skip
        kinds += ["shab"] if has_maps else []
        kinds += ["group"] if depth == 0 else []
        kind = rng.choice(kinds)
    if kind == "group":
        held = []
        for _ in range(rng.randint(1, 3)):
            held.append(_draw_block(rng, SMALL, [*before, *held], depth=1))
        if _width(held[-1], SMALL) != SMALL or any(_width(b, SMALL) != SMALL for b in held):
            held = [_spab(rng, SMALL)]
        group = BlockSpec.of(
            "group", kernel=rng.choice([1, 3]), bias=rng.random() < 0.5,
            attention=rng.choice(["none", "esa"]),
        )  # fmt: skip
        return BlockSpec(kind="group", args=group.args, blocks=tuple(held))
    width = rng.choice([SMALL, SMALL, 12]) if depth == 0 else SMALL
    activation, attention = rng.choice(sorted(ACTIVATIONS)), rng.choice(sorted(ATTENTIONS))
    args = {
        "acb": {"channels": SMALL, "expansion": rng.choice([1, 2]), "window": rng.choice([5, 72])},
        "conv": {"channels": width, "kernel": rng.choice([1, 3, 5]), "bias": True},
        "conv_stack": {
            "channels": width, "activation": activation, "bias": False,
            "activate_last": rng.random() < 0.5,
        },
        "depthwise": {"kernel": rng.choice([3, 5]), "bias": True},
        "hab": {"channels": SMALL, "kernel": rng.choice([7, 31])},
        "shab": {"channels": SMALL, "kernel": 7},
        "hfeb": {"channels": SMALL, "expansion": 3, "activation": activation},
        "image_spab": {
            "channels": width, "kernel": rng.choice([3, 5]), "activation": activation,
            "attention": attention, "bias": True,
        },
        "layer_norm": {"eps": rng.choice([1e-5, 1e-6])},
        "mhcb": {"channels": SMALL, "num_heads": rng.choice([1, 2]), "expansion": 2},
        "multi_scale_conv": {"channels": SMALL},
        "local_distillation": {"channels": SMALL},
        "rfdb": {
            "channels": SMALL, "distilled": rng.choice([5, 8]), "activation": activation,
            "attention": attention, "bias": rng.random() < 0.5,
        },
        "residual_chain": {
            "channels": width, "num_convs": rng.choice([1, 2, 4]), "activation": activation,
            "activate_last": True, "attention": attention, "bias": True,
        },
        "safm": {
            "channels": SMALL, "num_levels": rng.choice([1, 2, 4]), "expansion": 2,
            "activation": activation,
        },
        "scab": {"channels": SMALL, "expansion": 2, "window": rng.choice([6, 72])},
        "spab": dict(_spab(rng, width).args),
        "wavelet": {
            "channels": SMALL, "window": 4, "shift": rng.choice([0, 2]), "num_heads": 4,
            "hidden": 12, "inner": 20, "d_state": 3, "num_classes": 5, "rank": 4, "noise": False,
        },
    }[kind]  # fmt: skip
    return BlockSpec.of(kind, **args)


def _width(block, channels):
    return int(dict(block.args).get("channels", channels))
