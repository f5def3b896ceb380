"""LR folders are found as people name them, from the data set's and from the HR folder."""

import os
import shutil
from pathlib import Path

import pytest

from nas.data import imresize
from nas.data.folders import folder_names
from nas.data.folders.folder_names import folders_below, read_folder_name
from nas.data.folders.layouts import open_folder
from nas.data.folders.places import absolute, validation_folder
from tests.nas.data.pictures import CASES, needs_cases, picture, write, write_pairs

PAIRED = [
    ("HR", "LR"),
    ("hr", "lr"),
    ("GT", "LR"),
    ("gt", "lq"),
    ("GT", "LR/X4"),
    ("Hr", "Lr/x4"),
    ("GTmod12", "LRbicx4"),
    ("HR", "LRx4"),
    ("HR", "LR_x4"),
    ("HR", "x4"),
    ("HR", "X4"),
    ("HR", "LR_bicubic"),
    ("HR", "LR_bicubic/x4"),
    ("original", "LR_bicubic/X4"),
    ("HR_x4", "LR_x4"),
    ("trainH", "trainL"),
    ("testH", "testLx4"),
    ("ground_truth", "low_res"),
    ("high_resolution", "low_resolution"),
    ("train_HR", "train_LR"),
    ("HR_train", "LR_train/X4"),
    ("HR/train", "LR/train"),
    ("HR/train", "X4/train"),
    ("DIV2K_train_HR", "DIV2K_train_LR_bicubic/x4"),
    ("div2k_train_hr", "div2k_train_lr_bicubic/x4"),
    ("DIV2K_train_HR", "DIV2K_train_LR_bicubic_X4"),
    ("DIV2K_train_HR", "DIV2K_train_LR_bicubic_X4/X4"),
    ("DIV2K_train_HR/DIV2K_train_HR", "DIV2K_train_LR_bicubic/X4"),
    ("DIV2K_train_HR_sub", "DIV2K_train_LR_bicubic/X4_sub"),
    ("DF2K_HR_sub", "DF2K_LR_bicubic/X4_sub"),
    ("Flickr2K_HR", "Flickr2K_LR_bicubic/x4"),
]


def pairs_of(found):
    """HR files with their LR files, relative to the folder above both."""
    return [(pair.hr.name, pair.lr.name if pair.lr else None) for pair in found.pairs]


@pytest.mark.parametrize(("hr", "lr"), PAIRED)
@pytest.mark.parametrize("named", ["root", "hr"])
def test_hr_folder_finds_its_lr_folder(tmp_path, hr, lr, named):
    write_pairs(tmp_path / hr, tmp_path / lr, ["a", "b"])
    found = open_folder(tmp_path if named == "root" else tmp_path / hr, role="train", scale=4)
    assert pairs_of(found) == [("a.png", "ax4.png"), ("b.png", "bx4.png")]
    assert {pair.lr.parent for pair in found.pairs} == {tmp_path / lr}
    assert found.problems == ()


@pytest.mark.parametrize(
    ("hr", "lr", "told"),
    [
        ("HR", "LR_bicubic/X2", "LR_bicubic/X2, and are not used: no LR images of scale 4"),
        ("HR", "LR_unknown/X4", "LR_unknown/X4, and are not used"),
        (
            "DIV2K_train_HR",
            "DIV2K_valid_LR_bicubic/X4",
            "DIV2K_valid_LR_bicubic/X4, and are not used",
        ),
        ("photos", "LR", "LR, and are not used: nothing says that they are those of photos"),
        ("train", "train_LR", "train_LR, and are not used"),
    ],
)
def test_lr_images_that_are_not_used_are_told_in_one_line(tmp_path, hr, lr, told):
    write_pairs(tmp_path / hr, tmp_path / lr, ["a"])
    found = open_folder(tmp_path / hr, role="train", scale=4)
    assert pairs_of(found) == [("a.png", None)]
    assert len(found.notices) == 1
    assert told in found.notices[0]
    assert "data.lr_train=FOLDER" in found.notices[0]


def test_lr_folder_of_bicubic_images_goes_first_and_the_other_is_told(tmp_path):
    write_pairs(tmp_path / "HR", tmp_path / "LR_bicubic/X4", ["a"])
    write_pairs(tmp_path / "HR", tmp_path / "LR", ["a"])
    write_pairs(tmp_path / "HR", tmp_path / "LR_unknown/X4", ["a"])
    found = open_folder(tmp_path, role="test", scale=4)
    assert found.pairs[0].lr.parent == tmp_path / "LR_bicubic/X4"
    assert "LR, LR_unknown/X4, and are not used: those of LR_bicubic/X4 are" in found.notices[0]


def test_cropped_copies_go_before_originals(tmp_path):
    for name in ("original", "GTmod12"):
        write_pairs(tmp_path / name, tmp_path / "LRbicx4", ["a"])
    assert open_folder(tmp_path, role="test", scale=4).folder == tmp_path / "GTmod12"


@pytest.mark.parametrize("named", ["root", "hr", "link"])
def test_links_keep_the_names_they_were_given(tmp_path, named):
    """The LR folder is beside the link, not beside what the link leads to."""
    write_pairs(tmp_path / "store/hr", tmp_path / "store/low", ["0001", "0002"])
    (tmp_path / "DIV2K/DIV2K_train_LR_bicubic").mkdir(parents=True)
    (tmp_path / "DIV2K/DIV2K_train_HR").symlink_to(tmp_path / "store/hr")
    (tmp_path / "DIV2K/DIV2K_train_LR_bicubic/X4").symlink_to(tmp_path / "store/low")
    (tmp_path / "mine").symlink_to(tmp_path / "DIV2K/DIV2K_train_HR")
    roots = {"root": "DIV2K", "hr": "DIV2K/DIV2K_train_HR", "link": "mine"}
    found = open_folder(tmp_path / roots[named], role="train", scale=4)
    if named == "link":  # a link to a link: followed to its end, where no LR folder is known
        assert [pair.name for pair in found.pairs] == ["0001", "0002"]
        return
    assert pairs_of(found) == [("0001.png", "0001x4.png"), ("0002.png", "0002x4.png")]
    assert found.layout == "DIV2K"


def test_linked_files_are_images(tmp_path):
    write_pairs(tmp_path / "store", None, ["a"])
    (tmp_path / "HR").mkdir()
    (tmp_path / "HR/b.png").symlink_to(tmp_path / "store/a.png")
    assert [pair.name for pair in open_folder(tmp_path, role="train", scale=4).pairs] == ["b"]


def test_a_link_with_a_name_of_its_own_is_followed(tmp_path):
    write_pairs(
        tmp_path / "DIV2K/DIV2K_train_HR", tmp_path / "DIV2K/DIV2K_train_LR_bicubic/X4", ["0001"]
    )
    (tmp_path / "mine").symlink_to(tmp_path / "DIV2K")
    (tmp_path / "photos").symlink_to(tmp_path / "DIV2K/DIV2K_train_HR")
    for name in ("mine", "photos"):
        assert pairs_of(open_folder(tmp_path / name, role="train", scale=4)) == [
            ("0001.png", "0001x4.png")
        ]


def test_a_folder_that_links_to_itself_is_read_once(tmp_path):
    write_pairs(tmp_path / "set/class", None, ["a"])
    (tmp_path / "set/class/again").symlink_to(tmp_path / "set")
    assert len(open_folder(tmp_path / "set", role="train", scale=4).pairs) == 1
    assert len(list(folders_below(tmp_path / "set"))) == 2


@pytest.mark.parametrize("folders", [("OST/animal", "OST/plant"), ("001", "002"), ("a/b/c/d", "e")])
def test_images_in_folders_below_are_taken_and_told(tmp_path, folders):
    for seed, folder in enumerate(folders):
        write_pairs(tmp_path / "set" / folder, None, ["0000"], first_seed=seed)
    found = open_folder(tmp_path / "set", role="train", scale=4)
    assert [pair.hr.parent for pair in found.pairs] == [
        tmp_path / "set" / folder for folder in folders
    ]
    assert f"the 2 of {folders[0]}, {folders[1]} below it are taken" in found.notices[0]


def test_classes_pair_within_their_folders(tmp_path):
    for seed, name in enumerate(("animal", "plant")):
        write_pairs(tmp_path / "HR" / name, tmp_path / "LR" / name, ["0"], first_seed=seed)
    for root in (tmp_path, tmp_path / "HR", tmp_path / "HR/plant"):
        found = open_folder(root, role="train", scale=4)
        assert all(pair.lr.parent.name == pair.hr.parent.name for pair in found.pairs)
    (tmp_path / "LR/animal/0x4.png").unlink()
    found = open_folder(tmp_path, role="train", scale=4)
    assert [pair.hr.parent.name for pair in found.pairs] == ["plant"]
    assert found.problems[0][1].startswith("no LR file 0x4")


def test_shards_find_their_lr_images_from_each_folder(tmp_path):
    for shard, name in (("0001000", "0000001"), ("0002000", "0001001")):
        write_pairs(tmp_path / shard, tmp_path / "X4/train" / shard, [name], first_seed=int(name))
    assert len(open_folder(tmp_path, role="train", scale=4).pairs) == 2
    found = open_folder(tmp_path / "0002000", role="train", scale=4)
    assert pairs_of(found) == [("0001001.png", "0001001x4.png")]


def test_folders_that_mix_hr_and_lr_folders_are_refused(tmp_path):
    for name in ("Set5", "Set14"):
        write_pairs(tmp_path / name / "HR", tmp_path / name / "LR", ["a"])
    with pytest.raises(
        ValueError, match=r"several folders of images, LR ones too, such as Set14/LR; name the"
    ):
        open_folder(tmp_path, role="test", scale=4)


@pytest.mark.parametrize("named", ["DIV2K_valid_HR", "DIV2K_valid_HR/DIV2K_valid_HR"])
def test_an_hr_folder_unzipped_into_its_own_name_finds_its_lr_folder(tmp_path, named):
    write_pairs(
        tmp_path / "DIV2K_valid_HR/DIV2K_valid_HR", tmp_path / "DIV2K_valid_LR_bicubic/X4", ["0801"]
    )
    assert pairs_of(open_folder(tmp_path / named, role="test", scale=4)) == [
        ("0801.png", "0801x4.png")
    ]


def test_a_folder_around_a_data_set_is_looked_through(tmp_path):
    write_pairs(tmp_path / "Set5/Set5/GTmod12", tmp_path / "Set5/Set5/LRbicx4", ["a"])
    assert pairs_of(open_folder(tmp_path / "Set5", role="test", scale=4)) == [("a.png", "ax4.png")]


def test_an_lr_folder_named_as_hr_is_told(tmp_path):
    write_pairs(tmp_path / "HR", tmp_path / "LR_bicubic/X4", ["a"])
    found = open_folder(tmp_path / "LR_bicubic/X4", role="test", scale=4)
    assert "holds LR images by its name; they are taken as HR images" in found.notices[0]


def test_lr_can_be_named_and_made(tmp_path):
    write_pairs(tmp_path / "HR", tmp_path / "LR", ["a"])
    write_pairs(tmp_path / "x", tmp_path / "own/X4", ["a"])
    found = open_folder(tmp_path, role="test", scale=4, lr=str(tmp_path / "own"))
    assert found.pairs[0].lr == tmp_path / "own/X4/ax4.png"
    made = open_folder(tmp_path, role="test", scale=4, lr="none")
    assert made.pairs[0].lr is None
    assert made.notices == (
        f"data.test: LR images lie in {tmp_path}, LR, and are not used: data.lr=none",
    )
    with pytest.raises(ValueError, match=r"data\.lr: no such folder: .*gone; name the folder"):
        open_folder(tmp_path, role="test", scale=4, lr=str(tmp_path / "gone"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"data\.lr: no images in .*empty"):
        open_folder(tmp_path, role="test", scale=4, lr=str(tmp_path / "empty"))


def test_validation_folder_is_found_in_any_case(tmp_path):
    write_pairs(tmp_path / "div2k_train_hr", None, ["0001"])
    assert validation_folder(tmp_path) is None
    write_pairs(tmp_path / "div2k_valid_hr", None, ["0801"])
    assert validation_folder(tmp_path) == tmp_path / "div2k_valid_hr"


def test_paths_with_dots_are_understood(tmp_path, monkeypatch):
    write_pairs(tmp_path / "set/HR", tmp_path / "set/LR", ["a"])
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for root in ("../set/HR", "../set", "../set/HR/../HR"):
        assert pairs_of(open_folder(Path(root), role="train", scale=4)) == [("a.png", "ax4.png")]
    monkeypatch.chdir(tmp_path / "set/HR")
    assert pairs_of(open_folder(Path("."), role="train", scale=4)) == [("a.png", "ax4.png")]
    assert absolute(Path("..")) == tmp_path / "set"


@pytest.mark.parametrize(
    ("name", "kind", "scale", "rest"),
    [
        ("GTmod12", "HR", None, ()),
        ("LRbicx4", "LR", 4, ()),
        ("LR_bicubic/X4", "LR", 4, ()),
        ("DIV2K_train_LR_bicubic/X4_sub", "LR", 4, ("div2k", "train", "sub")),
        ("x2", "LR", 2, ()),
        ("photos_x4", "", 4, ("photos",)),
        ("Christmas", "", None, ("christmas",)),
        ("chr", "", None, ("chr",)),
    ],
)
def test_folder_names_are_read_word_by_word(name, kind, scale, rest):
    found = read_folder_name(name)
    assert (found.kind, found.scale, found.rest) == (kind, scale, rest)


@needs_cases
@pytest.mark.parametrize(
    ("folder", "role", "pairs"),
    [
        ("a1_GT_LR/set", "test", [("000.png", "000.png"), ("001.png", "001.png")]),
        ("a1_GT_LR/set/GT", "test", [("000.png", "000.png"), ("001.png", "001.png")]),
        ("a2_GTmod12_LRbicx4/Set14", "test", [("im0.png", "im0.png"), ("im1.png", "im1.png")]),
        (
            "a2_GTmod12_LRbicx4/Set14/GTmod12",
            "test",
            [("im0.png", "im0.png"), ("im1.png", "im1.png")],
        ),
        ("a3_HR_LR/set", "test", [("000.png", "000.png"), ("001.png", "001.png")]),
        ("a3_HR_LR/set/HR", "test", [("000.png", "000.png"), ("001.png", "001.png")]),
        (
            "a5_lowercase_x4/DIV2K",
            "train",
            [("0001.png", "0001x4.png"), ("0002.png", "0002x4.png")],
        ),
        (
            "b1_bicLRx4_suffix/set",
            "test",
            [("im0.png", "im0_bicLRx4.png"), ("im1.png", "im1_bicLRx4.png")],
        ),
        (
            "b3_both_end_in_x4/set",
            "test",
            [("im0_x4.png", "im0_x4.png"), ("im1_x4.png", "im1_x4.png")],
        ),
        ("l3_nested_class_folders/DF2K_OST", "train", [("0000.png", None), ("0001.png", None)]),
        (
            "l1_LSDIR_HR_train_shards/LSDIR",
            "train",
            [("0000001.png", "0000001x4.png"), ("0001001.png", "0001001x4.png")],
        ),
        (
            "l4_sub_folders_DIV2K_sub/DIV2K",
            "train",
            [("0001_s001.png", "0001_s001.png"), ("0002_s001.png", "0002_s001.png")],
        ),
        (
            "l4_sub_folders_DIV2K_sub/DIV2K/DIV2K_train_HR_sub",
            "train",
            [("0001_s001.png", "0001_s001.png"), ("0002_s001.png", "0002_s001.png")],
        ),
        ("s1_ceil_LR/floor", "test", [("comic.png", "comicx4.png")]),
        ("s2_jpg_HR_png_LR/set", "test", [("one.JPG", "one.png")]),
        (
            "c1_SRF_4_HR_LR_one_folder/Set5/image_SRF_4",
            "test",
            [(f"img_00{i}_SRF_4_HR.png", f"img_00{i}_SRF_4_LR.png") for i in (1, 2, 3)],
        ),
    ],
)
def test_cases_are_paired(folder, role, pairs):
    found = open_folder(CASES / folder, role=role, scale=4)
    assert pairs_of(found) == pairs
    assert found.problems == ()


@needs_cases
@pytest.mark.parametrize("named", ["DIV2K", "DIV2K/DIV2K_train_HR"])
def test_case_of_linked_folders_is_paired(tmp_path, named):
    """The links are made here: a copy of the cases may hold their targets as text."""
    case = tmp_path / "case"
    shutil.copytree(CASES / "a7_symlinked_HR_folder/store", case / "store")
    (case / "DIV2K/DIV2K_train_LR_bicubic").mkdir(parents=True)
    os.symlink("../store/hr", case / "DIV2K/DIV2K_train_HR")
    os.symlink("../../store/lr", case / "DIV2K/DIV2K_train_LR_bicubic/X4")
    found = open_folder(case / named, role="train", scale=4)
    assert pairs_of(found) == [("0001.png", "0001x4.png"), ("0002.png", "0002x4.png")]


@needs_cases
def test_case_of_ceiled_lr_is_refused_with_both_sizes():
    found = open_folder(CASES / "s1_ceil_LR/set", role="test", scale=4)
    assert (
        "LR is 25x33 (height x width), HR 98x129, which at scale 4 needs 24x32"
        in found.problems[0][1]
    )


def test_ceiled_lr_is_refused_with_both_sizes(tmp_path):
    image = picture(0, 66, 81)
    write(tmp_path / "HR/a.png", image)
    write(tmp_path / "LR_bicubic/X4/ax4.png", imresize(picture(0, 68, 84), 4))
    found = open_folder(tmp_path, role="test", scale=4)
    assert (
        "LR is 17x21 (height x width), HR 66x81, which at scale 4 needs 16x20"
        in found.problems[0][1]
    )


def test_a_folder_of_too_many_folders_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_names, "_MAX_FOLDERS", 3)
    for i in range(5):
        (tmp_path / f"class{i}").mkdir()
    with pytest.raises(
        ValueError, match="holds more than 3 folders; name that of the images itself"
    ):
        open_folder(tmp_path, role="train", scale=4)
