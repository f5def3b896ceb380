"""Crops of val and test images are found by their pixels; other scenes never are."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from nas.data import imresize
from nas.data.duplicates import overlaps
from nas.data.duplicates.changed_crops import ChangedCropFinder
from nas.data.duplicates.crops import CropFinder, hash_tiles
from nas.data.duplicates.spots import find_spots
from nas.data.folders.layouts import open_folder
from nas.data.pixels.images import read_image
from nas.data.pixels.orientation import orientations
from nas.data.roles import open_roles
from nas.data.sets import Pair
from tests.nas.data.pictures import CASES, SHARED, config, needs_cases, picture, write, write_pairs


def finder_of(folder, images):
    pairs = [
        Pair(str(i), write(folder / f"{i}.png", image), size=image.shape[:2])
        for i, image in enumerate(images)
    ]
    return CropFinder(pairs, [hash_tiles(image) for image in images])


def photograph(seed, height=240, width=320):
    """A scene like a photograph: noise with detail of all sizes, the larger the stronger."""
    rng = np.random.default_rng(seed)
    parts = [
        sigma * ndimage.gaussian_filter(rng.standard_normal((height, width, 3)), (sigma, sigma, 0))
        for sigma in (1, 2, 4, 8, 16)
    ]
    scene = sum(parts) / np.std(sum(parts)) * 45 + 128
    return np.clip(scene, 0, 255).astype(np.uint8)


def changed_finder_of(folder, images):
    pairs = [
        Pair(str(i), write(folder / f"{i}.png", image), size=image.shape[:2])
        for i, image in enumerate(images)
    ]
    return ChangedCropFinder(pairs, [find_spots(image) for image in images])


def coded(image, kind, quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


CHANGES = {
    "jpeg 75": lambda image: coded(image, "JPEG", 75),
    "webp 80": lambda image: coded(image, "WEBP", 80),
    "brighter": lambda image: np.clip(image * 1.1, 0, 255).astype(np.uint8),
    "grey": lambda image: np.asarray(Image.fromarray(image).convert("L").convert("RGB")),
    "noise": lambda image: np.clip(
        image + np.random.default_rng(0).integers(-2, 3, image.shape), 0, 255
    ).astype(np.uint8),
}


@pytest.mark.parametrize("turn", range(8))
def test_a_crop_is_found_wherever_it_was_cut_and_however_it_is_turned(tmp_path, turn):
    images = [picture(seed, 120, 150) for seed in range(3)]
    finder = finder_of(tmp_path, images)
    rng = np.random.default_rng(turn)
    for image, name in zip(images, "012", strict=True):
        height, width = rng.integers(15, 121), rng.integers(15, 151)
        top, left = rng.integers(0, 121 - height), rng.integers(0, 151 - width)
        crop = orientations(image[top : top + height, left : left + width])[turn]
        assert finder.find(np.ascontiguousarray(crop)).name == name


def test_orientations_are_eight_and_differ():
    image = picture(0, 20, 20)
    expected = [np.rot90(one, k) for one in (image, image[:, ::-1]) for k in range(4)]
    found = orientations(image)
    assert len({one.tobytes() for one in found}) == 8
    assert {one.tobytes() for one in found} == {one.tobytes() for one in expected}


def test_other_scenes_flat_images_and_changed_crops_are_not_found(tmp_path):
    image = picture(0, 120, 150)
    flat = np.full((120, 150, 3), 7, dtype=np.uint8)
    finder = finder_of(tmp_path, [image, flat])
    assert finder.find(picture(1, 60, 60)) is None
    assert finder.find(flat[:50, :50]) is None
    assert finder.find(image[:14, :14]) is None  # too small to hold a tile for certain
    assert (
        finder.find(np.concatenate([image[:60], picture(2, 60, 150)])) is None
    )  # half of it is another's
    assert CropFinder([], []).find(image) is None


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_crop_is_found_wherever_it_was_cut_and_however_it_is_turned(tmp_path, change):
    images = [photograph(seed) for seed in range(3)]
    finder = changed_finder_of(tmp_path, images)
    rng = np.random.default_rng(0)
    for turn in range(8):
        name = turn % 3
        height, width = rng.integers(80, 200, 2)
        top, left = rng.integers(0, 240 - height), rng.integers(0, 320 - width)
        crop = np.ascontiguousarray(images[name][top : top + height, left : left + width])
        turned = np.ascontiguousarray(orientations(CHANGES[change](crop))[turn])
        assert finder_of(tmp_path, images).find(turned) is None  # not pixel by pixel
        assert finder.find(turned).name == str(name)


def test_large_parts_of_a_changed_image_are_found(tmp_path):
    image = photograph(0)
    finder = changed_finder_of(tmp_path, [photograph(1), image])
    for part in (image[:, :160], image[20:-20, 20:-20], image[1:]):
        assert finder.find(coded(np.ascontiguousarray(part), "JPEG", 85)).name == "1"


def test_what_is_alike_without_being_cut_from_it_is_no_changed_crop(tmp_path):
    image = photograph(0)
    flat = np.full((240, 320, 3), 90, dtype=np.uint8)
    edge = flat.copy()
    edge[:, 160:] = 160
    checks = np.kron(np.indices((30, 40)).sum(axis=0) % 2, np.ones((8, 8)))[..., None]
    checks = (60 + 100 * checks * np.ones(3)).astype(np.uint8)
    finder = changed_finder_of(tmp_path, [image, flat, edge, checks])
    assert finder.find(photograph(1, 100, 100)) is None
    for other in (flat, edge, checks):  # many images hold the same
        assert finder.find(coded(np.ascontiguousarray(other[50:150, 100:220]), "JPEG", 90)) is None
    half = np.concatenate([image[:100, :200], photograph(2, 100, 200)])
    assert finder.find(half) is None
    assert finder.find(255 - image[:120, :120]) is None
    assert finder.find(np.ascontiguousarray(image[:30, :30])) is None  # too small to be sure of
    assert ChangedCropFinder([], []).find(image) is None


def test_edges_of_two_scenes_are_not_taken_for_each_other(tmp_path):
    def edge(seed, height, width):
        scene = np.full((height, width, 3), 60.0)
        scene[:, width // 2 :] = 180
        noise = np.random.default_rng(seed).normal(0, 2, scene.shape)
        return np.clip(scene + noise, 0, 255).astype(np.uint8)

    finder = changed_finder_of(tmp_path, [edge(0, 240, 320)])
    assert all(finder.find(edge(seed, 160, 60)) is None for seed in range(1, 30))


@pytest.mark.parametrize("lr", [False, True])
def test_crops_of_val_and_test_images_leave_training(tmp_path, lr):
    scene = picture(1, 128, 160)
    write(tmp_path / "val/v.png", scene)
    write_pairs(tmp_path / "train/HR", tmp_path / "train/LR" if lr else None, ["own"])
    for name, crop in (("a", scene[8:72, 3:83]), ("b", scene[40:104, 60:140][:, ::-1])):
        write(tmp_path / f"train/HR/{name}.png", crop)
        if lr:
            write(tmp_path / f"train/LR/{name}x4.png", imresize(crop, 4))
    roles = open_roles(
        config(train=tmp_path / "train", val=tmp_path / "val"), scale=4, progress=False
    )
    assert [pair.name for pair in roles.need("train").pairs] == ["own"]
    notice = next(line for line in roles.notices if "crops of" in line)
    assert all(name in notice for name in ("a.png", "b.png", "v.png in val"))


def test_crops_of_test_images_leave_val(tmp_path):
    scene = picture(1, 128, 160)
    write(tmp_path / "test/v.png", scene)
    write_pairs(tmp_path / "val", None, ["own"])
    write(tmp_path / "val/a.png", scene[:64, :80])
    roles = open_roles(
        config(val=tmp_path / "val", test=tmp_path / "test"), scale=4, progress=False
    )
    assert [pair.name for pair in roles.need("val").pairs] == ["own"]


@pytest.mark.parametrize("lower", ["train", "val"])
def test_changed_crops_of_test_images_leave_the_lower_role(tmp_path, lower):
    scene = photograph(1)
    write(tmp_path / "test/v.png", scene)
    write_pairs(tmp_path / lower, None, ["own"])
    write(tmp_path / f"{lower}/other.png", photograph(2, 120, 120))
    Image.fromarray(scene[30:150, 40:180]).save(tmp_path / lower / "a.jpg", quality=80)
    Image.fromarray(scene[:, :160]).save(tmp_path / lower / "b.webp", quality=80)
    given = config(**{lower: tmp_path / lower, "test": tmp_path / "test"})
    roles = open_roles(given, scale=4, progress=False)
    assert [pair.name for pair in roles.need(lower).pairs] == ["other", "own"]
    notice = next(line for line in roles.notices if "crops of" in line)
    assert all(name in notice for name in ("a.jpg", "b.webp", "v.png in test"))


def test_looking_for_changed_crops_is_bounded_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr(overlaps, "MAX_SECONDS", 0.012)  # two images or three
    scene = photograph(50)
    write(tmp_path / "val/v.png", scene)
    for seed, name in enumerate("abcd"):
        write(tmp_path / f"train/{name}.png", photograph(seed, 80, 80))
    given = config(train=tmp_path / "train", val=tmp_path / "val")
    roles = open_roles(given, scale=4, progress=False)
    assert len(roles.need("train")) == 4
    assert any(
        "2 of 4 training images that could be changed crops" in line for line in roles.notices
    )

    # Where one of those that are looked at is a crop, the others are looked at too.
    write(tmp_path / "train/c.png", CHANGES["noise"](scene[:80, :100]))
    write(tmp_path / "train/d.png", CHANGES["noise"](scene[100:, 150:]))
    roles = open_roles(given, scale=4, progress=False)
    assert [pair.name for pair in roles.need("train").pairs] == ["a", "b"]
    assert not any("evenly spread" in line for line in roles.notices)


def test_what_is_decoded_for_crops_alone_is_bounded_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr(overlaps, "MAX_PIXELS", 2 * 64 * 80)
    scene = picture(50, 128, 160)
    write(tmp_path / "val/v.png", scene)
    write_pairs(tmp_path / "train/HR", tmp_path / "train/LR", ["a", "b", "c", "d"])
    given = config(train=tmp_path / "train", val=tmp_path / "val")
    roles = open_roles(given, scale=4, progress=False)
    assert len(roles.need("train")) == 4
    assert any("2 of 4 training images that could be crops" in line for line in roles.notices)

    # Where one of those that are looked at is a crop, the others are looked at too.
    for name, crop in (("c", scene[:64, :80]), ("d", scene[64:, 80:])):
        write(tmp_path / f"train/HR/{name}.png", crop)
        write(tmp_path / f"train/LR/{name}x4.png", imresize(crop, 4))
    roles = open_roles(given, scale=4, progress=False)
    assert [pair.name for pair in roles.need("train").pairs] == ["a", "b"]
    assert not any("evenly spread" in line for line in roles.notices)


def test_no_photograph_is_taken_for_a_crop_of_another():
    if not SHARED.is_dir():
        pytest.skip(f"no {SHARED}: the photographs are not in the repository")
    judged = [
        pair
        for name in ("Set5", "Set14", "BSD100")
        for pair in open_folder(SHARED / name, role="test", scale=4).pairs
    ]
    finder = CropFinder(judged, [hash_tiles(read_image(pair.hr)) for pair in judged])
    changed = ChangedCropFinder(judged, [find_spots(read_image(pair.hr)) for pair in judged])
    for pair in open_folder(SHARED / "BSDS200", role="train", scale=4).pairs[::4]:
        image = read_image(pair.hr)
        assert finder.find(image) is None
        part = np.ascontiguousarray(image[20:200, 30:260])
        assert finder.find(part) is None
        assert changed.find(image) is None
        assert changed.find(part) is None


@needs_cases
def test_cases_of_crops_and_twins_leave_training():
    for case, kept in (("d1_subimage_of_0801", ["0001_s001"]), ("d4_mirrored_twin", ["c"])):
        given = config(train=CASES / case / "train", val=CASES / case / "valid")
        roles = open_roles(given, scale=4, progress=False)
        assert [pair.name for pair in roles.need("train").pairs] == kept
