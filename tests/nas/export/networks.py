"""Bundles of networks with released weights, and of small ones, for the formats' tests."""

import dataclasses
import json
from pathlib import Path

import pytest

from nas.export.bundle import Bundle
from nas.train.proxy import residual_spec
from search_spaces import ArchSpec, BlockSpec, build, published
from search_spaces.official import load_official
from tests.search_spaces.spaces import make_space

CHECKPOINTS = Path(__file__).parents[4] / "shared" / "reference" / "checkpoints"
RELEASED = {
    "span": "team00_SPAN.pth",
    "spanv2": "team22_spanv2_c2.pth",
    "rfdn_span": "team09_RFDN_SPAN.pth",
}


def make_bundle(net, *, base=None):
    """A network as an exporter gets it."""
    return Bundle(spec=net.spec, net=net.eval(), base=base, provenance={})


def make_released(name):
    """A published network with the weights that its authors released."""
    path = CHECKPOINTS / RELEASED[name]
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    net = build(published(name))
    load_official(net, path)
    return make_bundle(net)


def make_draft(spec):
    """What a search keeps of an architecture: a residual over the bicubic base, untrained here."""
    return Bundle(spec=spec, net=build(residual_spec(spec)), base="bicubic", provenance={})


def make_span(**changes):
    """A small member of the space around SPAN, without normalisation."""
    options = {
        "entry": ["stem"], "normalise": False, "num_blocks": [1], "channels": [8],
        "attention": ["parameter_free"], "activation": ["silu"], "bias": [True], "skip": ["none"],
        "taps": ["all"], "tail_channels": [1.0], "head": ["conv"],
    }  # fmt: skip
    return make_space("span", **{**options, **changes}).sample(None)


def make_rfdn():
    """One RFDB with widths that fill no texture, so that channels of a sum lie in several."""
    data = published("rfdn_span").to_dict()
    data |= {"blocks": data["blocks"][:1], "taps": ["block1"]}
    text = json.dumps(data).replace('"channels": 46', '"channels": 6')
    return ArchSpec.from_json(text.replace('"distilled": 23', '"distilled": 3'))


def make_gathered():
    """What else a network can have: scaled taps, parts of channels, layers on the large image."""
    spab = BlockSpec.of(
        "spab", channels=8, activation="silu", attention="parameter_free", bias=True
    )
    return ArchSpec(
        scale=2,
        normalise=False,
        stem=BlockSpec.of("conv", channels=8, kernel=3, bias=True),
        blocks=(spab,),
        taps=("stem", "block1"),
        scaled_taps=True,
        fusion=BlockSpec.of("activated_conv", channels=8, kernel=1, activation="gelu", bias=True),
        tail=(BlockSpec.of("local_distillation", channels=8),),
        residuals=(BlockSpec.of("identity", feature="stem"),),
        upsampler=BlockSpec.of("refined_pixel_shuffle", kernel=1, bias=True, num_refine=2),
    )


# Small networks that have, together, all that engines of convolutions take.
CASES = {
    "span": make_span(),
    "spanf, relu, conv1x1": make_span(
        entry=["block"], attention=["conv1x1"], activation=["relu"], skip=["near"],
        head=["separable"], taps=["last"],
    ),
    "x3, gelu, bilinear": make_span(
        scale=3, channels=[6], activation=["gelu"], attention=["hard_parameter_free"],
        skip=["bilinear"],
    ),
    "x2, hardswish, nearest": make_span(
        scale=2, channels=[10], activation=["hardswish"], attention=["diagonal"], skip=["nearest"],
        bias=[False],
    ),
    "rfdn": make_rfdn(),
    "centred": dataclasses.replace(
        make_span(taps=["last"]), wrap=(BlockSpec.of("centre", restore=True),)
    ),
    "gathered": make_gathered(),
    "normalised, homogeneous": make_span(normalise=True, activation=["relu"], attention=["none"]),
}  # fmt: skip
