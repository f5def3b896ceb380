"""Folders are recognised as what they are, pairs are checked by name and size."""

import numpy as np
import pytest

from nas.data.folders.layouts import open_folder
from nas.data.sets import ImageSet
from tests.nas.data.pictures import picture, write, write_pairs

CASES = {
    "DIV2K": ("DIV2K_train_HR", "DIV2K_train_LR_bicubic/X4", ["0001", "0002"]),
    "Flickr2K": ("Flickr2K_HR", "Flickr2K_LR_bicubic/X4", ["000001", "000002"]),
    "challenge": ("DIV2K_LSDIR_valid_HR", "DIV2K_LSDIR_valid_LR", ["0801", "0000001"]),
    "benchmark": ("HR", "LR_bicubic/X4", ["baby", "img_001x"]),
    "images": (".", None, ["a", "b"]),
}


@pytest.mark.parametrize("layout", CASES)
def test_layout_is_recognised_from_its_root_and_from_its_hr_folder(tmp_path, layout):
    hr, lr, names = CASES[layout]
    write_pairs(tmp_path / "set" / hr, tmp_path / "set" / lr if lr else None, names)
    for root in (tmp_path / "set", tmp_path / "set" / hr):
        found = open_folder(root, role="train", scale=4)
        assert (found.layout, found.problems, found.notices) == (layout, (), ())
        assert [pair.name for pair in found.pairs] == sorted(names)
        assert all((pair.lr is not None) == (lr is not None) for pair in found.pairs)
        assert {pair.size for pair in found.pairs} == {(64, 80)}


@pytest.mark.parametrize("hr", [".", "HR", "HR/train"])
def test_lsdir_shards_are_recognised(tmp_path, hr):
    for shard, name in (("0001000", "0000001"), ("0002000", "0001001")):
        write_pairs(
            tmp_path / hr / shard, tmp_path / "X4" / "train" / shard, [name], first_seed=int(name)
        )
    write_pairs(tmp_path / "val1/HR/val", tmp_path / "val1/X4/val", ["0000001"], first_seed=5)
    found = open_folder(tmp_path, role="train", scale=4)
    assert found.layout == "LSDIR"
    assert [pair.name for pair in found.pairs] == ["0000001", "0001001"]
    assert all(pair.lr is not None for pair in found.pairs)
    judged = open_folder(tmp_path, role="val", scale=4)
    assert judged.folder == tmp_path / "val1/HR/val"
    assert judged.pairs[0].lr == tmp_path / "val1/X4/val/0000001x4.png"


def test_roles_take_their_parts_of_div2k(tmp_path):
    write_pairs(tmp_path / "DIV2K_train_HR", None, ["0001"])
    with pytest.raises(
        ValueError, match=r"data\.val: .* only training images .DIV2K_train_HR.*name the folder"
    ):
        open_folder(tmp_path, role="val", scale=4)
    write_pairs(tmp_path / "DIV2K_valid_HR", None, ["0801"])
    names = {
        role: open_folder(tmp_path, role=role, scale=4).pairs[0].name
        for role in ("train", "val", "test")
    }
    assert names == {"train": "0001", "val": "0801", "test": "0801"}
    assert open_folder(tmp_path / "DIV2K_train_HR", role="val", scale=4).pairs[0].name == "0001"


def test_several_data_sets_in_one_folder_are_refused(tmp_path):
    write_pairs(tmp_path / "DIV2K_train_HR", None, ["0001"])
    write_pairs(tmp_path / "Flickr2K_HR", None, ["000001"])
    with pytest.raises(ValueError, match="holds several data sets"):
        open_folder(tmp_path, role="train", scale=4)


def test_first_keeps_the_first_names_and_does_not_miss_the_rest(tmp_path):
    write_pairs(tmp_path / "HR", tmp_path / "LR_bicubic/X4", ["c", "a", "b"])
    found = open_folder(tmp_path, role="train", scale=4, first=2)
    assert [pair.name for pair in found.pairs] == ["a", "b"]
    assert not found.problems


def test_another_scale_makes_lr_from_hr_and_says_so(tmp_path):
    write_pairs(tmp_path / "HR", tmp_path / "LR_bicubic/X4", ["a"])
    found = open_folder(tmp_path, role="train", scale=2)
    assert found.pairs[0].lr is None
    assert "no LR images of scale 2" in found.notices[0]


@pytest.mark.parametrize("name", ["gone", "file.txt"])
def test_a_root_that_is_no_folder_is_refused(tmp_path, name):
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(ValueError, match=r"data\.train: (no such|not a) folder: .*" + name):
        open_folder(tmp_path / name, role="train", scale=4)


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(ValueError, match=r"data\.test: no images in .*known layouts"):
        open_folder(tmp_path, role="test", scale=4)


def test_problems_are_named(tmp_path):
    hr, lr = tmp_path / "HR", tmp_path / "LR_bicubic" / "X4"
    write_pairs(hr, lr, ["good", "large", "alone", "text", "tiny"])
    write(lr / "largex4.png", picture(1, 17, 20))
    (lr / "alonex4.png").unlink()
    write(lr / "orphanx4.png", picture(2, 16, 20))
    (hr / "text.png").write_text("text")
    write(hr / "tiny.png", picture(3, 3, 80))
    found = open_folder(tmp_path, role="train", scale=4)
    assert [pair.name for pair in found.pairs] == ["good"]
    reasons = {path.name: reason for path, reason in found.problems}
    assert reasons["alone.png"].startswith("no LR file alonex4")
    assert reasons["orphanx4.png"] == "an LR file without its HR file orphan"
    assert reasons["largex4.png"].startswith("LR is 17x20 (height x width), HR 64x80")
    assert "smaller than one LR pixel" in reasons["tinyx4.png"]
    assert "not an image" in reasons["text.png"]
    assert len(found.problems) == 5


def test_load_crops_hr_at_the_right_and_the_bottom(tmp_path):
    image = picture(0, 67, 81)
    write(tmp_path / "a.png", image)
    pairs = open_folder(tmp_path, role="train", scale=4).pairs
    lr, hr = ImageSet(name="train", pairs=pairs, scale=4).load(0)
    np.testing.assert_array_equal(hr, image[:64, :80])
    assert lr.shape == (16, 20, 3)


def test_load_reads_the_lr_file_where_there_is_one(tmp_path):
    write_pairs(tmp_path / "HR", tmp_path / "LR_bicubic/X4", ["a"])
    other = picture(9, 16, 20)
    write(tmp_path / "LR_bicubic/X4/ax4.png", other)
    pairs = open_folder(tmp_path, role="train", scale=4).pairs
    np.testing.assert_array_equal(ImageSet(name="train", pairs=pairs, scale=4).load(0)[0], other)


def test_fingerprint_follows_the_files_not_the_folder(tmp_path):
    def fingerprint(folder, scale=4):
        pairs = open_folder(folder, role="train", scale=scale).pairs
        return ImageSet(name="train", pairs=pairs, scale=scale).fingerprint

    for folder in ("one", "two"):
        write_pairs(tmp_path / folder, None, ["a", "b"])
    before = fingerprint(tmp_path / "one")
    assert before == fingerprint(tmp_path / "two")
    assert before != fingerprint(tmp_path / "one", scale=2)
    write(tmp_path / "two" / "b.png", picture(7))
    assert before != fingerprint(tmp_path / "two")
    (tmp_path / "one" / "b.png").rename(tmp_path / "one" / "c.png")
    assert before != fingerprint(tmp_path / "one")
