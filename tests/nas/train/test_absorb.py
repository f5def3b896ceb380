"""A residual's base, taken into its last layers."""

import pytest
import torch

from nas.measure.quality import mean_db, per_image
from nas.train.absorb import absorb_base, can_absorb, find_head
from nas.train.proxy import OverBase, start_proxy
from nas.train.start import start_network
from search_spaces.published import published
from tests.nas.train.proxies import image_set, patch_store, proxy
from tests.search_spaces.tiny import tiny_spec

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def patches():
    return patch_store("coffee")


def read_db(upscale):
    return mean_db(per_image(upscale, image_set("chelsea", role="val"), CPU))


@pytest.mark.parametrize(
    ("spec", "loss_db"),
    [
        (tiny_spec(channels=16, taps="all"), 0.1),
        (tiny_spec(entry="block", num_blocks=2, channels=16, skip="near", taps="all"), 0.1),
        # Its pixels pass a 3x3 filter alone, and bicubic pixels are made of 4x4.
        (
            tiny_spec(
                entry="block", num_blocks=2, channels=16, skip="near", bias=False, head="separable"
            ),
            0.5,
        ),
    ],
    ids=["joint", "near", "separable"],
)
def test_a_trained_residual_loses_little_when_it_takes_its_base(patches, spec, loss_db):
    config = proxy(steps=60, batch_size=8)
    trainer = start_proxy(spec, config, patches, seed=0, device=CPU)
    trainer.run(config.steps)
    residual = trainer.averaged()
    lr, _ = patches.batch(10_000, 60, 24)
    whole = absorb_base(residual, spec, lr).eval()
    assert whole.spec == spec
    assert read_db(whole) > read_db(OverBase(residual)) - loss_db
    # The residual alone is no image, and the network that was given is not changed.
    assert read_db(residual) < 15
    assert read_db(OverBase(residual)) > read_db(whole) - 0.1


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("span", "joint"),
        ("spanf", "joint"),
        ("spanv2", "separable"),
        ("disp", "added"),
        ("rfdn_span", "added"),
        ("zenosr", None),
        ("safmn_deep15", None),
    ],
)
def test_heads_that_hold_pixels_are_told(name, head):
    assert find_head(published(name)) == head
    assert can_absorb(published(name)) is (head is not None)


@pytest.mark.parametrize("name", ["span", "spanf", "disp"])
def test_networks_start_as_linear_filters(patches, name):
    """Far from what fresh weights give, which is no image."""
    net = start_network(published(name), patches, seed=0, patch=16).eval()
    assert read_db(net) > 29.5  # bicubic: 30.18
