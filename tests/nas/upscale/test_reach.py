"""The receptive field as measured, and tiles that equal the whole."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nas.upscale.picture import Picture
from nas.upscale.planning import Plan, Planner
from nas.upscale.reach import find_period, measure_radius
from nas.upscale.tiles import cut_spans
from nas.upscale.upscaler import PictureUpscaler
from search_spaces import build, published
from search_spaces.layers.pad import pad_to_multiple

CPU = torch.device("cpu")
TILES = (32, 64, 100)


def network(name):
    """A network whose far pixels count: weights as a training begins with hardly show them."""
    torch.manual_seed(0)
    net = build(published(name)).eval()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)

    # Within full scale, as those of a trained network: else rounding would show too.
    with torch.no_grad():
        spread = net(torch.rand(1, 3, 48, 48)).std()
        for parameter in net.upsampler.last.parameters():
            parameter *= 0.2 / spread
    return net


def convolutions(*kernels):
    """A chain of convolutions whose receptive field is known by formula, without weights' luck."""
    layers = [nn.Conv2d(3, 3, kernel, padding=kernel // 2) for kernel in kernels]
    return nn.Sequential(*layers, nn.Upsample(scale_factor=2)).eval().double()


def pooled(x):
    """Means of cells of 4x4, which begin at the image's corner."""
    cells = F.avg_pool2d(pad_to_multiple(x, 4, "symmetric"), 4)
    return F.interpolate(cells, scale_factor=8)[..., : 2 * x.shape[2], : 2 * x.shape[3]]


def uneven(x):
    """Means of a grid of eight by eight cells, whose sides follow from the image's."""
    return F.interpolate(F.adaptive_avg_pool2d(x, (x.shape[2] // 8, x.shape[3] // 8)), x.shape[2:])


@pytest.mark.parametrize(("kernels", "radius"), [((3,), 1), ((3, 5), 3), ((1,), 0), ((7, 3, 3), 5)])
def test_radius_of_convolutions_is_that_of_the_formula(kernels, radius):
    assert measure_radius(convolutions(*kernels), 2) == radius


def test_radius_does_not_depend_on_weights():
    """Dead weights hide nothing: with others the same network looks as far."""
    net = convolutions(3, 3)
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    assert measure_radius(net, 2) == 2


def test_what_looks_at_the_whole_image_has_no_radius():
    assert measure_radius(lambda x: F.group_norm(x, 1), 1) is None
    assert measure_radius(lambda x: x.cumsum(2), 1) is None
    assert measure_radius(lambda x: x * x.mean((2, 3), keepdim=True), 1) is None


def test_cells_bind_tiles_to_their_period():
    assert find_period(convolutions(3, 3), 2, 2, (97, 64)) == 1
    assert find_period(pooled, 2, 3, (97, 64)) == 4
    assert find_period(uneven, 1, 8, (64, 64)) == 8
    assert find_period(uneven, 1, 16, (93, 64)) is None


@pytest.mark.parametrize("side", [1, 31, 32, 33, 100, 129])
def test_tiles_give_every_pixel_once_with_its_overlap(side):
    spans = cut_spans(side, 32, 7)
    assert [place for span in spans for place in range(span.begin, span.end)] == list(range(side))
    for span in spans:
        assert span.first == max(0, span.begin - 7)
        assert span.last >= min(side, span.end + 7)


def upscale(net, spec, pixels, plan):
    return PictureUpscaler(net, spec.scale, CPU)(Picture(pixels=pixels), plan).pixels.astype(float)


@pytest.mark.parametrize("name", ["span", "spanv2", "tssr"])
def test_tiled_equals_whole(name):
    """Also where sides are no multiples of the tile, and one is shorter than it."""
    net, spec = network(name), published(name)
    pixels = np.random.default_rng(0).integers(0, 65536, (110, 70, 3), dtype=np.uint16)
    whole = upscale(net, spec, pixels, Plan(tile=110))
    assert whole.std() > 1000, "an output that is nearly constant would prove nothing"
    for tile in TILES:
        plan = Planner(net, spec, device=CPU, tile=tile).plan(110, 70)
        assert (plan.tile, plan.why_inexact) == (tile, "")
        # Two neighbouring levels of 16 bits, where rounding falls to either side.
        assert np.abs(upscale(net, spec, pixels, plan) - whole).max() <= 1


def test_a_smaller_overlap_would_be_seen():
    """The test above can fail: with some pixels less, tiles differ from the whole."""
    net, spec = network("span"), published("span")
    pixels = np.random.default_rng(0).integers(0, 65536, (80, 40, 3), dtype=np.uint16)
    whole = upscale(net, spec, pixels, Plan(tile=80))
    tiled = upscale(net, spec, pixels, Plan(tile=32, overlap=10))
    assert np.abs(tiled - whole).max() > 10


def test_a_radius_that_is_too_small_is_found_out():
    """Tiles are tried out on strips: with a radius that was measured wrongly they would differ."""
    assert find_period(network("span").double(), 4, 21, (80, 40)) == 1
    assert find_period(network("span").double(), 4, 12, (80, 40)) == 32  # an overlap of 32 does


def test_a_network_that_sees_everything_says_so():
    net, spec = network("safmn_deep15"), published("safmn_deep15")
    plan = Planner(net, spec, device=CPU, tile=32).plan(64, 64)
    assert "so it cannot be tiled exactly" in plan.why_inexact
    assert not Planner(net, spec, device=CPU, tile=64).plan(64, 64).why_inexact


def test_a_tile_smaller_than_its_overlap_is_refused():
    with pytest.raises(ValueError, match="tile=20 is smaller than the overlap of 21 LR pixels"):
        Planner(network("span"), published("span"), device=CPU, tile=20)


def test_short_memory_makes_tiles_that_fit(monkeypatch):
    planner = Planner(network("spanv2"), published("spanv2"), device=CPU, tile=None)
    assert planner.plan(200, 200).describe(200, 200) == "whole"
    monkeypatch.setattr("nas.upscale.planning.free_memory", lambda: 60 * 2**20)
    plan = planner.plan(400, 400)
    assert plan.overlap == 16
    assert plan.tile < 400
    with pytest.raises(ValueError, match=r"its result alone takes .* GiB are free"):
        planner.check_size(4000, 4000, 3)


def test_what_cannot_be_tiled_is_refused_where_memory_is_short(monkeypatch):
    name = "safmn_deep15"
    planner = Planner(network(name), published(name), device=CPU, tile=None)
    monkeypatch.setattr("nas.upscale.planning.free_memory", lambda: 8 * 2**20)
    with pytest.raises(ValueError, match="cannot be tiled exactly; tile=256 goes on"):
        planner.plan(200, 200)
