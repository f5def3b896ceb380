"""Crops of judged images are found pixel by pixel and leave the lower role; other scenes never do."""

import numpy as np
import pytest

from nas.data import imresize, overlaps
from nas.data.crops import CropFinder, hash_tiles
from nas.data.folders.layouts import open_folder
from nas.data.images import read_image
from nas.data.orientation import orientations
from nas.data.roles import open_roles
from nas.data.sets import Pair
from tests.nas.data.pictures import CASES, SHARED, config, needs_cases, picture, write, write_pairs


def finder_of(folder, images):
    pairs = [
        Pair(str(i), write(folder / f"{i}.png", image), size=image.shape[:2])
        for i, image in enumerate(images)
    ]
    return CropFinder(pairs, [hash_tiles(image) for image in images])


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
    assert finder.find(np.concatenate([image[:60], picture(2, 60, 150)])) is None  # half of it is another's
    assert CropFinder([], []).find(image) is None


@pytest.mark.parametrize("lr", [False, True])
def test_crops_of_judged_images_leave_training(tmp_path, lr):
    scene = picture(1, 128, 160)
    write(tmp_path / "select/v.png", scene)
    write_pairs(tmp_path / "train/HR", tmp_path / "train/LR" if lr else None, ["own"])
    for name, crop in (("a", scene[8:72, 3:83]), ("b", scene[40:104, 60:140][:, ::-1])):
        write(tmp_path / f"train/HR/{name}.png", crop)
        if lr:
            write(tmp_path / f"train/LR/{name}x4.png", imresize(crop, 4))
    roles = open_roles(config(train=tmp_path / "train", select=tmp_path / "select"), scale=4, progress=False)
    assert [pair.name for pair in roles.need("train").pairs] == ["own"]
    notice = next(line for line in roles.notices if "crops of" in line)
    assert all(name in notice for name in ("a.png", "b.png", "v.png in select"))


def test_crops_of_report_images_leave_select(tmp_path):
    scene = picture(1, 128, 160)
    write(tmp_path / "report/v.png", scene)
    write_pairs(tmp_path / "select", None, ["own"])
    write(tmp_path / "select/a.png", scene[:64, :80])
    roles = open_roles(
        config(select=tmp_path / "select", report=tmp_path / "report"), scale=4, progress=False
    )
    assert [pair.name for pair in roles.need("select").pairs] == ["own"]


def test_what_is_decoded_for_crops_alone_is_bounded_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr(overlaps, "MAX_PIXELS", 2 * 64 * 80)
    scene = picture(50, 128, 160)
    write(tmp_path / "select/v.png", scene)
    write_pairs(tmp_path / "train/HR", tmp_path / "train/LR", ["a", "b", "c", "d"])
    given = config(train=tmp_path / "train", select=tmp_path / "select")
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
        for pair in open_folder(SHARED / name, role="report", scale=4).pairs
    ]
    finder = CropFinder(judged, [hash_tiles(read_image(pair.hr)) for pair in judged])
    for pair in open_folder(SHARED / "BSDS200", role="train", scale=4).pairs[::4]:
        image = read_image(pair.hr)
        assert finder.find(image) is None
        assert finder.find(np.ascontiguousarray(image[20:200, 30:260])) is None


@needs_cases
def test_cases_of_crops_and_twins_leave_training():
    for case, kept in (("d1_subimage_of_0801", ["0001_s001"]), ("d4_mirrored_twin", ["c"])):
        given = config(train=CASES / case / "train", select=CASES / case / "valid")
        roles = open_roles(given, scale=4, progress=False)
        assert [pair.name for pair in roles.need("train").pairs] == kept
