"""The synthetic pictures as files of the user's cache."""

import numpy as np

from nas.data.pixels.images import read_image
from nas.data.synthetic import pictures
from nas.data.synthetic.pictures import synthetic_pictures


def test_pictures_are_made_once_and_are_the_same_everywhere(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "COUNT", 2)
    made = []
    for home in ("one", "other"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / home))
        pairs = synthetic_pictures(progress=False)
        times = [pair.hr.stat().st_mtime_ns for pair in pairs]
        assert [pair.hr.stat().st_mtime_ns for pair in synthetic_pictures(progress=False)] == times
        made.append(pairs)
    assert [pair.source for pair in made[0]] == ["synthetic"] * 2
    assert [pair.name for pair in made[0]] == [pair.name for pair in made[1]]
    for one, other in zip(*made, strict=True):
        image = read_image(one.hr)
        np.testing.assert_array_equal(image, read_image(other.hr))
        assert image.shape[:2] == one.size
        assert one.lr is None
