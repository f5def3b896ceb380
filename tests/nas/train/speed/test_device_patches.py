"""Patches cut on a device are those that the CPU's store cuts, to the bit."""

import pytest
import torch

from nas.data.patches.uses import SourceUse
from nas.train.speed.device_patches import DeviceImages
from tests.nas.train.proxies import patch_store

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def patches():
    """Two photographs of unequal sides, neither of which is square."""
    return patch_store("coffee", "rocket", seed=3)


@pytest.fixture(scope="module")
def images(patches):
    return DeviceImages(patches.images, CPU)


@pytest.mark.parametrize("patch", [1, 8, (6, 10), (13, 5)])
def test_patches_are_equal_at_every_turn_and_shape(patches, images, patch):
    turns = {turn for *_, turn in patches.draw_crops(5, 64, patch)}
    assert turns == set(range(8))
    for ours, theirs in zip(
        images.cut(patches).batch(5, 64, patch), patches.batch(5, 64, patch), strict=True
    ):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


def test_stores_of_some_images_and_of_a_share_are_cut_from_the_same_bytes(patches, images):
    some = patches.with_sources({"": SourceUse(first=1)}, seed=0).with_seed(9)
    for store in (some, patches.with_share(1, 2), some.with_share(0, 4)):
        for ours, theirs in zip(
            images.cut(store).batch(2, 8, 8), store.batch(2, 8, 8), strict=True
        ):
            assert torch.equal(ours, theirs)


def test_shares_are_the_batch_in_its_order(patches):
    whole = patches.batch(4, 6, (5, 7))
    parts = [patches.with_share(rank, 3).batch(4, 6, (5, 7)) for rank in range(3)]
    for side, joined in enumerate(zip(*parts, strict=True)):
        assert torch.equal(torch.cat(joined), whole[side])
    with pytest.raises(ValueError, match="7 patches cannot be shared alike by 3 processes"):
        patches.with_share(0, 3).batch(4, 7, 8)


def test_what_does_not_fit_is_refused_as_by_the_store(patches, images):
    with pytest.raises(ValueError, match="2 image"):
        images.cut(patches).batch(0, 1, 4000)


def test_cpu_cuts_from_the_store_itself(patches):
    assert DeviceImages.place(patches, CPU) is None
