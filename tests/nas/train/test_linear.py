import torch

from nas.measure.quality import mean_db, per_image
from nas.train.linear import linear_filter
from nas.train.proxy import bicubic_base
from tests.nas.train.proxies import image_set, patch_store

CPU = torch.device("cpu")


def test_linear_filter_beats_the_base_on_photographs_it_has_not_seen():
    upscale = linear_filter(patch_store("coffee", "motorcycle_left"), CPU)
    images = image_set("astronaut", "chelsea", role="val")
    base = per_image(lambda x: bicubic_base(x, 4), images, CPU)
    found = per_image(upscale, images, CPU)
    assert mean_db(found) > mean_db(base) + 0.1
    assert all(found[name] > base[name] for name in base)


def test_linear_filter_is_linear_and_repeats():
    patches = patch_store("coffee")
    upscale, again = (linear_filter(patches, CPU, num_batches=4) for _ in range(2))
    a, b = torch.rand(1, 3, 10, 9), torch.rand(1, 3, 10, 9)
    torch.testing.assert_close(
        upscale((a + b) / 2), (upscale(a) + upscale(b)) / 2, rtol=0, atol=1e-5
    )
    assert torch.equal(upscale(a), again(a))
    assert upscale(a).shape == (1, 3, 40, 36)


def test_linear_filter_gives_back_a_linear_truth():
    """Where the truth is the base itself, so is the filter."""

    class Flat:
        scale = 4

        def batch(self, step, batch_size, patch):
            lr = torch.rand(
                batch_size, 3, patch, patch, generator=torch.Generator().manual_seed(step)
            )
            return lr, bicubic_base(lr, 4)

    x = torch.rand(1, 3, 8, 8)
    upscale = linear_filter(Flat(), CPU, num_batches=2)
    torch.testing.assert_close(upscale(x), bicubic_base(x, 4), rtol=0, atol=1e-4)
