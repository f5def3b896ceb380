"""The patch store: aligned, repeatable, in the promised shares, from memory and files."""

import itertools

import numpy as np
import pytest
import torch

from nas.data import imresize
from nas.data.folders.layouts import open_folder
from nas.data.patches import PatchStore
from nas.data.patches.uses import SourceUse, describe_uses
from nas.data.sets import ImageSet, Pair
from tests.nas.data.pictures import picture, write, write_pairs


def flat_set(folder, sizes, *, weights=(), scale=4, on_error="stop"):
    """One image of a single grey level each: 10, 20, ...; the levels tell what was drawn."""
    pairs = []
    for i, (source, height, width) in enumerate(sizes):
        image = np.full((height, width, 3), 10 * (i + 1), dtype=np.uint8)
        path = write(folder / f"{i}.png", image)
        pairs.append(Pair(str(i), path, None, source, (height, width)))
    return ImageSet(
        name="train", pairs=tuple(pairs), scale=scale, weights=weights, on_error=on_error
    )


def photographs(folder, count=3):
    write_pairs(folder, None, [str(i) for i in range(count)])
    return ImageSet(name="train", pairs=open_folder(folder, role="train", scale=4).pairs, scale=4)


def orientations(image):
    """Return the eight orientations of (H, W, C), made in another way than the store does."""
    return [np.rot90(one, k) for one in (image, image[:, ::-1]) for k in range(4)]


@pytest.mark.parametrize(("scale", "shape"), [(2, (6, 6)), (3, (6, 6)), (4, (6, 6)), (4, (5, 9))])
def test_patches_are_aligned_crops_in_all_eight_orientations(tmp_path, scale, shape):
    image = picture(0, 20 * scale, 24 * scale)
    path = write(tmp_path / "a.png", image)
    store = PatchStore(
        ImageSet(name="train", pairs=(Pair("a", path, size=image.shape[:2]),), scale=scale),
        seed=1,
        progress=False,
    )
    small, (h, w) = imresize(image, scale), shape
    where = {}
    for k, (lr, hr) in enumerate(zip(orientations(small), orientations(image), strict=True)):
        for y, x in itertools.product(range(lr.shape[0] - h + 1), range(lr.shape[1] - w + 1)):
            side = slice(scale * y, scale * (y + h)), slice(scale * x, scale * (x + w))
            where[lr[y : y + h, x : x + w].tobytes()] = (k, hr[side])
    lr, hr = store.batch(0, 200, shape if h != w else h)
    assert lr.dtype == hr.dtype == torch.float32
    assert hr.shape == (200, 3, h * scale, w * scale)
    seen = set()
    for one, large in zip(lr, hr, strict=True):
        assert torch.equal(one, (one * 255).round() / 255)
        key = (one * 255).round().permute(1, 2, 0).to(torch.uint8).contiguous().numpy().tobytes()
        k, expected = where[key]
        seen.add(k)
        torch.testing.assert_close(
            large, torch.from_numpy(expected.copy()).permute(2, 0, 1) / 255, rtol=0, atol=0
        )
    assert seen == set(range(8))


def test_batch_depends_on_seed_and_step_alone(tmp_path):
    images = photographs(tmp_path)
    store = PatchStore(images, seed=3, progress=False)
    first = store.batch(7, 4, 8)
    store.batch(8, 5, 6)
    again = PatchStore(images, seed=3, progress=False).batch(7, 4, 8)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], store.batch(8, 4, 8)[0])
    other = store.with_seed(4)
    assert not torch.equal(first[0], other.batch(7, 4, 8)[0])
    assert torch.equal(other.with_seed(3).batch(7, 4, 8)[0], first[0])
    assert store.seed == 3


def test_draws_stay_the_same_in_later_versions(tmp_path):
    """A run is resumed by seed and step: these draws are part of its meaning."""
    store = PatchStore(
        flat_set(tmp_path, [("", 64, 64), ("", 128, 96), ("", 48, 200)]), seed=5, progress=False
    )
    levels = (store.batch(11, 12, 8)[0][:, 0, 0, 0] * 255).round().int().tolist()
    assert levels == [30, 20, 30, 30, 20, 20, 20, 20, 20, 20, 20, 20]


def test_large_images_are_drawn_in_proportion_to_their_positions(tmp_path):
    store = PatchStore(flat_set(tmp_path, [("", 44, 44), ("", 84, 84)]), seed=0, progress=False)
    levels = store.batch(0, 4000, 10)[0][:, 0, 0, 0] * 255
    small, large = 2 * 2, 12 * 12
    assert (levels.round() == 10).float().mean().item() == pytest.approx(
        small / (small + large), abs=0.01
    )


def test_every_position_is_drawn(tmp_path):
    """Positions of a gradient: its LR values tell where the patch lay."""
    image = np.zeros((40, 48, 3), dtype=np.uint8)
    image[:, :, 0] = np.arange(40).repeat(48).reshape(40, 48) // 4 * 20
    image[:, :, 1] = np.tile(np.arange(48), 40).reshape(40, 48) // 4 * 20
    path = write(tmp_path / "a.png", image)
    store = PatchStore(
        ImageSet(name="train", pairs=(Pair("a", path, size=(40, 48)),), scale=4),
        seed=0,
        progress=False,
    )
    lr = store.batch(0, 3000, 9)[0]
    corners = {tuple((one.amin(dim=(1, 2)) * 255).round().int().tolist()[:2]) for one in lr}
    assert len(corners) == (10 - 9 + 1) * (12 - 9 + 1)


def test_sources_are_drawn_by_their_weights(tmp_path):
    images = flat_set(
        tmp_path, [("a", 44, 44), ("b", 200, 200), ("a", 44, 44)], weights=(("a", 3.0), ("b", 1.0))
    )
    levels = PatchStore(images, seed=0, progress=False).batch(0, 4000, 10)[0][:, 0, 0, 0] * 255
    assert (levels.round() == 20).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert (levels.round() == 30).float().mean().item() == pytest.approx(0.375, abs=0.03)


def test_files_give_what_memory_gives(tmp_path):
    images = photographs(tmp_path / "images")
    memory = PatchStore(images, seed=0, progress=False).batch(2, 8, 8)
    cache = tmp_path / "cache"
    for _ in range(2):
        mapped = PatchStore(images, seed=0, memory_mib=0.01, cache=cache, progress=False)
        assert all(torch.equal(a, b) for a, b in zip(memory, mapped.batch(2, 8, 8), strict=True))
        assert [path.name.startswith(images.fingerprint) for path in cache.iterdir()] == [True]
    temporary = PatchStore(images, seed=0, memory_mib=0.01, progress=False)
    assert torch.equal(memory[1], temporary.batch(2, 8, 8)[1])


def test_cached_files_are_read_instead_of_decoded(tmp_path, monkeypatch):
    images = photographs(tmp_path / "images")
    PatchStore(images, seed=0, memory_mib=0.01, cache=tmp_path / "cache", progress=False)
    monkeypatch.setattr(ImageSet, "load", lambda *_: pytest.fail("decoded again"))
    PatchStore(images, seed=0, memory_mib=0.01, cache=tmp_path / "cache", progress=False).batch(
        0, 2, 8
    )


def test_half_written_files_are_not_taken(tmp_path, monkeypatch):
    images = photographs(tmp_path / "images")
    load = ImageSet.load
    monkeypatch.setattr(ImageSet, "load", lambda self, i: load(self, i) if i < 2 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        PatchStore(images, seed=0, memory_mib=0.01, cache=tmp_path / "cache", progress=False)
    assert list((tmp_path / "cache").iterdir()) == []


def test_shards_are_split_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setattr("nas.data.patches.shards._SHARD_BYTES", 20_000)
    images = photographs(tmp_path / "images", count=5)
    mapped = PatchStore(images, seed=0, memory_mib=0.01, cache=tmp_path / "cache", progress=False)
    assert len(list((tmp_path / "cache").glob("*/*.u8"))) == 3
    memory = PatchStore(images, seed=0, progress=False)
    assert torch.equal(mapped.batch(0, 32, 8)[1], memory.batch(0, 32, 8)[1])


def test_images_below_the_patch_stop_or_are_left_out(tmp_path):
    sizes = [("", 44, 44), ("", 84, 84)]
    with pytest.raises(ValueError, match=r"1 image\(s\) .* below the patch of 12: 0 \(11x11\)"):
        PatchStore(flat_set(tmp_path, sizes), seed=0, progress=False).batch(0, 2, 12)
    store = PatchStore(flat_set(tmp_path, sizes, on_error="skip"), seed=0, progress=False)
    assert (store.batch(0, 50, 12)[0] * 255).round().unique().tolist() == [20.0]
    assert "0 (11x11)" in store.notices[0]
    with pytest.raises(ValueError, match="2 image"):
        store.batch(0, 2, 22)


def test_a_corrupt_image_stops_or_is_left_out(tmp_path):
    stop = photographs(tmp_path)
    bad = tmp_path / "1.png"
    bad.write_bytes(bad.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"1\.png: cut or corrupt"):
        PatchStore(stop, seed=0, progress=False)
    skip = ImageSet(name="train", pairs=stop.pairs, scale=4, on_error="skip")
    store = PatchStore(skip, seed=0, progress=False)
    assert len(store) == 2
    assert "1.png" in store.notices[0]


@pytest.mark.parametrize("patch", [0, -1])
def test_a_patch_of_no_size_is_refused(tmp_path, patch):
    with pytest.raises(ValueError, match="patch must be at least 1"):
        PatchStore(photographs(tmp_path), seed=0, progress=False).batch(0, 1, patch)


@pytest.mark.parametrize(("on_error", "expected"), [("stop", 10), ("skip", 16)])
def test_fitting_patch_is_one_that_the_images_hold(tmp_path, on_error, expected):
    store = PatchStore(
        flat_set(tmp_path, [("", 40, 80), ("", 96, 64)], on_error=on_error), seed=0, progress=False
    )
    assert store.fitting_patch(24) == expected
    assert store.fitting_patch(8) == 8
    store.batch(0, 2, store.fitting_patch(24))


def count_levels(store, count=4000):
    """Return the share of patches from each image of `flat_set`, by its level."""
    levels = (store.batch(0, count, 4)[0][:, 0, 0, 0] * 255).round().int()
    return {level: (levels == level).float().mean().item() for level in levels.unique().tolist()}


def test_sources_are_restricted_and_weighted_anew(tmp_path):
    sizes = [("a", 44, 44), ("b", 44, 44), ("a", 44, 44), ("a", 44, 44)]
    store = PatchStore(flat_set(tmp_path, sizes, weights=(("a", 9.0),)), seed=0, progress=False)
    before = store.batch(1, 8, 4)[0]
    uses = {"a": SourceUse(first=2, weight=1.0), "b": SourceUse(weight=3.0)}
    shares = count_levels(store.with_sources(uses, seed=0))
    assert shares == pytest.approx({10: 0.125, 20: 0.75, 30: 0.125}, abs=0.03)

    # Without weights every image counts alike, whatever the data say of their sources.
    alike = count_levels(store.with_sources({"a": SourceUse(), "b": SourceUse()}, seed=0))
    assert alike == pytest.approx(dict.fromkeys((10, 20, 30, 40), 0.25), abs=0.03)
    assert set(count_levels(store.with_sources({"b": SourceUse()}, seed=0))) == {20}
    assert torch.equal(store.batch(1, 8, 4)[0], before)


def test_share_of_a_source_is_drawn_by_the_seed(tmp_path):
    sizes = [("a", 32, 32)] * 10 + [("b", 32, 32)] * 2
    store = PatchStore(flat_set(tmp_path, sizes), seed=0, progress=False)

    def levels(seed, **uses):
        return set(count_levels(store.with_sources(uses, seed=seed), 400))

    drawn = levels(3, a=SourceUse(share=0.3))
    assert len(drawn) == 3
    assert drawn == levels(3, a=SourceUse(share=0.3))
    assert drawn | {110, 120} == levels(3, a=SourceUse(share=0.3), b=SourceUse())
    assert len({frozenset(levels(seed, a=SourceUse(share=0.3))) for seed in range(5)}) > 1
    assert len(levels(0, a=SourceUse(share=0.01))) == 1


def test_images_of_restricted_sources_are_not_copied(tmp_path, monkeypatch):
    store = PatchStore(flat_set(tmp_path, [("a", 44, 44), ("b", 44, 44)]), seed=0, progress=False)
    monkeypatch.setattr(ImageSet, "load", lambda *_: pytest.fail("decoded again"))
    (image,) = store.with_sources({"b": SourceUse()}, seed=0)._images
    assert image is store._images[1]


def test_sources_that_are_not_there_are_left_out_and_said(tmp_path):
    store = PatchStore(flat_set(tmp_path, [("a", 44, 44), ("b", 44, 44)]), seed=0, progress=False)
    some, none = {"a": SourceUse(), "z": SourceUse()}, {"y": SourceUse(), "z": SourceUse()}
    assert set(count_levels(store.with_sources(some, seed=0))) == {10}
    assert set(count_levels(store.with_sources(none, seed=0))) == {10, 20}
    assert store.sources == {"a", "b"}
    assert describe_uses(some, store.sources) == (
        "the data have no z, the others train without; b is not named and does not train"
    )
    assert describe_uses(none, store.sources) == "the data have no y, z: all their images train"
    assert describe_uses({"a": SourceUse(), "b": SourceUse()}, store.sources) == ""
