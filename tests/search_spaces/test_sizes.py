"""Images of any size: upscaled, or refused by the rule that they break."""

import pytest
import torch

from search_spaces import build, published
from search_spaces.published import names

SIZES = [
    (1, 1),
    (1, 9),
    (2, 3),
    (5, 5),
    (7, 7),
    (8, 8),
    (9, 12),
    (10, 10),
    (11, 14),
    (15, 15),
    (17, 40),
]


@pytest.mark.parametrize("name", names())
def test_published_network_upscales_an_image_or_says_how_large_it_must_be(name):
    net = build(published(name))
    refused = []
    for height, width in SIZES:
        image = torch.rand(2, 3, height, width)
        try:
            with torch.no_grad():
                out = net(image)
        except ValueError as error:
            refused.append(((height, width), str(error)))
        else:
            assert out.shape == (2, 3, 4 * height, 4 * width)
            assert out.isfinite().all()
    for size, message in refused:
        assert min(size) < 11
        assert "use a larger image" in message or "use one of at least" in message
    assert bool(refused) == (name in ("amcanet", "haesr", "hfenet"))


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 1, 16, 16), (1, 4, 16, 16)])
def test_what_is_no_batch_of_rgb_images_is_refused(shape):
    with pytest.raises(ValueError, match=r"image must be RGB, \(N, 3, H, W\), got"):
        build(published("span"))(torch.rand(shape))
