"""Photographs of installed packages: they are there, and smaller ones are made from them."""

import numpy as np
import pytest

from nas.data.builtin.photographs import FILES, photograph, shrunk_photographs
from nas.data.pixels.images import read_image, read_size


@pytest.mark.parametrize("name", FILES)
def test_every_photograph_is_in_its_wheel(name):
    height, width = read_size(photograph(name, source="").hr)
    assert min(height, width) >= 172


def test_shrunk_photographs_show_the_same_at_a_smaller_scale(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    whole = photograph("coffee", source="builtin")
    half, quarter = shrunk_photographs([whole], [0.5, 0.25], progress=False)
    assert (half.name, half.source, half.lr) == ("coffee_0.5", "builtin", None)
    image = read_image(whole.hr)
    for pair, factor in ((half, 2), (quarter, 4)):
        means = image.reshape(400 // factor, factor, 600 // factor, factor, 3).mean(axis=(1, 3))
        assert read_image(pair.hr).shape == means.shape
        assert np.abs(read_image(pair.hr) - means).mean() < 3
