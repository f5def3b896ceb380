"""Synthetic pictures: repeatable from a seed, with the statistics of photographs."""

import itertools

import numpy as np
import pytest

from nas.data.builtin.photographs import photograph
from nas.data.pixels.images import read_image
from nas.data.synthetic.leaves import COVERAGE, MAX_RADIUS_SHARE, MIN_RADIUS, draw_leaves
from nas.data.synthetic.outlines import SHARES, draw_outlines
from nas.data.synthetic.painting import paint_picture

SIDE = 256


def paint(seed, photographs=None):
    if photographs is None:
        photographs = [read_image(photograph("rocket", source="").hr)]
    return paint_picture(np.random.default_rng(seed), SIDE, photographs)


def spectrum_slope(picture):
    """The power of log power over log frequency, from 8 to 64 periods a picture."""
    grey = picture.mean(axis=-1)
    power = np.abs(np.fft.fft2(grey - grey.mean())) ** 2
    fy, fx = (np.fft.fftfreq(side, 1 / side) for side in grey.shape)
    radius = np.hypot(fy[:, None], fx[None])
    octaves = np.geomspace(8, 64, 7)
    bands = [(radius >= low) & (radius < high) for low, high in itertools.pairwise(octaves)]
    means = [power[band].mean() for band in bands]
    return np.polyfit(np.log(np.sqrt(octaves[1:] * octaves[:-1])), np.log(means), 1)[0]


def test_a_picture_is_a_pure_function_of_its_seed():
    first, again, other = paint(1), paint(1), paint(2)
    assert first.shape == (SIDE, SIDE, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 10


def test_the_power_spectrum_falls_as_that_of_photographs():
    ours = np.mean([spectrum_slope(paint(seed)) for seed in range(6)])
    crops = [
        read_image(photograph(name, source="").hr)[:SIDE, :SIDE]
        for name in ("china", "coffee", "flower")
    ]
    theirs = np.mean([spectrum_slope(crop) for crop in crops])
    assert -3.2 < theirs < -1.8
    assert abs(ours - theirs) < 0.6


def test_every_octave_of_radii_covers_a_like_area():
    areas = np.zeros(4)
    for seed in range(4):
        leaves = draw_leaves(np.random.default_rng(seed), 2 * SIDE)
        alone = leaves.radii[
            np.bincount(leaves.groups, minlength=len(leaves.radii))[leaves.groups] == 1
        ]
        octave = np.log2(alone[1:] / MIN_RADIUS).astype(int)
        areas += np.bincount(octave[octave < 4], alone[1:][octave < 4] ** 2, minlength=4)
    assert areas.min() > 0.4 * areas.max()


def test_leaves_lie_on_top_of_earlier_ones_and_cover_the_ground():
    leaves = draw_leaves(np.random.default_rng(0), 2 * SIDE)
    assert leaves.labels.max() < len(leaves.radii)
    assert leaves.radii[1:].max() <= MAX_RADIUS_SHARE * 2 * SIDE
    assert (leaves.labels == 0).mean() < 2 * np.exp(-COVERAGE / 1.44)  # leaves may lie 10 % outside
    # The centre of the last disc-like leaf that lies inside is its own or that of a later one.
    inside = np.flatnonzero(
        (leaves.centres > 0).all(axis=1) & (leaves.centres < 2 * SIDE).all(axis=1)
    )
    x, y = leaves.centres[inside].astype(int).T
    seen = leaves.labels[y, x]
    assert (seen >= inside).mean() > 0.8


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_colours_come_from_the_photograph(channel):
    plain = np.full((64, 64, 3), 60, dtype=np.uint8)
    plain[..., channel] = 200
    means = np.sort(np.mean([paint(seed, [plain]).mean(axis=(0, 1)) for seed in range(2)], axis=0))
    assert means[2] > means[0] + 20
    assert 40 < means[0] < 140


def test_outlines_are_closed_polygons_of_every_kind():
    outlines = draw_outlines(np.random.default_rng(0), 400)
    assert len(outlines) == 400
    assert len({len(outline.points) for outline in outlines}) >= len(SHARES)
    for outline in outlines:
        assert np.hypot(*np.transpose(outline.points)).max() < 3.5
        assert 0 < outline.area < 4.1
