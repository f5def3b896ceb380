"""Bundles of networks with released weights, and of small ones, for the formats' tests."""

from pathlib import Path

import pytest

from nas.export.bundle import Bundle
from nas.train.proxy import residual_spec
from search_spaces import build, published
from search_spaces.official import load_official

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
