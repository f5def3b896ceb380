"""Specs to measure: random ones over the whole grammar, and the smallest there is."""

import random

from search_spaces import ArchSpec, BlockSpec
from search_spaces.layers.activation import ACTIVATIONS
from search_spaces.layers.attention import ATTENTIONS


def tiny(scale: int = 2) -> ArchSpec:
    """One 3x3 convolution of 4 channels, a 1x1 one, and the upsampler."""
    return ArchSpec(
        scale=scale,
        normalise=False,
        blocks=(BlockSpec.of("conv", channels=4, kernel=3, bias=True),),
        taps=("block1",),
        fusion=BlockSpec.of("conv", channels=4, kernel=1, bias=False),
        upsampler=BlockSpec.of("pixel_shuffle", kernel=3, bias=True),
    )


def random_spec(seed: int) -> ArchSpec:
    rng = random.Random(seed)
    stem = rng.choice(
        [None, BlockSpec.of("conv", channels=rng.randint(3, 20), kernel=3, bias=True)]
    )
    blocks = tuple(
        BlockSpec.of(
            "spab",
            channels=rng.randint(3, 20),
            activation=rng.choice(sorted(ACTIVATIONS)),
            attention=rng.choice(sorted(ATTENTIONS)),
            bias=rng.random() < 0.5,
        )
        for _ in range(rng.randint(1, 4))
    )
    skip = rng.choice([None, "near", "bilinear", "nearest"])
    taps = [f"block{len(blocks)}", "block1.inner"][: rng.randint(1, 2)]
    return ArchSpec(
        scale=rng.choice([2, 3, 4]),
        normalise=rng.random() < 0.5,
        stem=stem,
        blocks=blocks,
        taps=("skip", *taps) if skip == "near" else tuple(taps),
        fusion=BlockSpec.of("depthwise", kernel=3, bias=False),
        upsampler=BlockSpec.of("pixel_shuffle", kernel=rng.choice([1, 3]), bias=True),
        skip=None
        if skip is None
        else BlockSpec.of(skip, **({"kernel": 3, "bias": False} if skip == "near" else {})),
    )
