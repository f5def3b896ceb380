"""Costs of networks with attention between pixels: HAESR's are those of the challenge."""

import json
from pathlib import Path

import pytest
import torch

from nas.measure.cost import SUMMED, measure_cost, summed_cost
from search_spaces import build, published
from tests.nas.measure.test_cost import DIFFERENT
from tests.search_spaces.blocks.members import SPAB, group, hab, member, shab, spab

COUNTS = Path(__file__).parents[4] / "shared" / "reference" / "counts.json"
# fvcore reads the products of an einsum back from a text of four digits: 4,023,400,000 for 4,023,386,112.
ROUNDED_EINSUM = 4_023_400_000 - 4_023_386_112
IMAGE_SPAB = {"kind": "image_spab", "channels": 16, "kernel": 5} | SPAB


@pytest.mark.skipif(not COUNTS.exists(), reason="../shared/reference/counts.json is not here")
def test_what_fvcore_rounds_are_the_products():
    """The counts themselves: tests/nas/measure/test_cost.py."""
    entry = json.loads(COUNTS.read_text())["team06_HAESR"]
    assert entry["fvcore_by_op"]["einsum"] == 4_023_400_000
    assert DIFFERENT["haesr"] == (0, -ROUNDED_EINSUM, 0, 0)


@pytest.mark.parametrize(
    "spec",
    [
        member(hab(), spab(), shab()),
        member(hab(), spab(32), shab(32), residuals=[]),
        member(group(hab(), spab(), kernel=3), group(shab(), IMAGE_SPAB, attention="esa"), shab()),
        member(spab(attention="esa"), group(spab(), IMAGE_SPAB)),
    ],
)
def test_parts_sum_to_the_network(spec):
    cost = measure_cost(spec)
    assert summed_cost(spec) == {name: getattr(cost, name) for name in SUMMED}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("size", [(24, 32), (17, 23)])
def test_counts_equal_those_of_fvcore_where_nothing_is_rounded(size):
    """Our products are no einsum, so fvcore counts them to the last digit."""
    import fvcore.nn  # scripts a function on import, which warns

    spec = published("haesr")
    net, image = build(spec).eval(), torch.rand(1, 3, *size)
    with torch.no_grad():
        flops = fvcore.nn.FlopCountAnalysis(net, image).unsupported_ops_warnings(False)
        assert measure_cost(spec, size=size).flops == flops.total()
