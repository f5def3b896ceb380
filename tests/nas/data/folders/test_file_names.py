"""HR and LR files are paired by name, in two folders and in one; unclear names are refused."""

import itertools

import pytest

from nas.data import imresize
from nas.data.folders.file_names import match_files, read_stem
from nas.data.folders.layouts import open_folder
from nas.data.folders.mixed_files import split_mixed
from tests.nas.data.pictures import picture, write


def matched(folder, hr, lr):
    """Match bare names; gives LR name by HR name, what is left over, and what is unclear."""
    hr_root, lr_root = folder / "HR", folder / "LR"
    found = match_files(
        [hr_root / name for name in hr],
        [lr_root / name for name in lr],
        hr_root=hr_root,
        lr_root=lr_root,
        scale=4,
    )
    names = {one.name: other.name for one, other in found.lr_of.items()}
    return names, [file.name for file in found.left_over], {file.name for file in found.unclear}


@pytest.mark.parametrize(
    ("hr", "lr"),
    [
        ("baby", "baby"),
        ("baby", "babyx4"),
        ("baby", "babyX4"),
        ("baby", "baby_x4"),
        ("baby", "baby-x4"),
        ("baby", "baby_4x"),
        ("baby", "baby_bicLRx4"),
        ("baby", "baby_LRBI_x4"),
        ("baby", "baby_LRx4"),
        ("baby", "baby_LR"),
        ("baby", "baby_lr_x4"),
        ("baby", "baby_SRF_4_LR"),
        ("baby_HR", "baby_LR4"),
        ("baby", "babyx4m"),
        ("baby", "babyx4w1"),
        ("baby", "babyx4d"),
        ("baby 1", "baby 1 (x4)"),
        ("baby(HR)", "baby(LR)"),
        ("baby_x4", "baby_x1"),
        ("baby_hr_1", "baby_lr_1"),
        ("HR_baby_1", "down_baby_1"),
        ("baby_orig", "baby_x4"),
        ("baby", "baby_bicubic_x4"),
        ("baby", "LR_baby"),
        ("baby_HR", "baby_LR"),
        ("baby_GT", "baby"),
        ("baby_GT", "baby_LRBI_x4"),
        ("baby_HR_x4", "baby_LR_x4"),
        ("babyHR", "babyLR"),
        ("HR_baby", "LR_x4_baby"),
        ("img_SRF_4_HR", "img_SRF_4_LR"),
        ("baby_x4", "baby_x4"),
        ("img_001x", "img_001xx4"),
        ("0001_s001", "0001_s001"),
    ],
)
def test_stems_pair_as_people_name_them(tmp_path, hr, lr):
    other = (
        hr.replace("baby", "bird").replace("img", "jmg"),
        lr.replace("baby", "bird").replace("img", "jmg"),
    )
    pairs = {f"{hr}.png": f"{lr}.png", f"{other[0]}.png": f"{other[1]}.png"}
    assert matched(tmp_path, list(pairs), list(pairs.values())) == (pairs, [], set())


def test_equal_names_go_before_a_cut_suffix_and_a_rule_for_all_before_one_for_some(tmp_path):
    assert matched(tmp_path, ["a_x4.png", "b_x4.png"], ["a_x4.png", "b_x4.png"])[0] == {
        "a_x4.png": "a_x4.png",
        "b_x4.png": "b_x4.png",
    }
    assert matched(tmp_path, ["a.png", "a_x4.png"], ["a_x4.png", "a_x4x4.png"])[0] == {
        "a.png": "a_x4.png",
        "a_x4.png": "a_x4x4.png",
    }


@pytest.mark.parametrize(
    ("hr", "lr"),
    [
        (["a.png", "a_x4.png"], ["a_x4.png"]),
        (["a.png"], ["a_x4.png", "a-x4.png"]),
        (["a.png", "a.jpg"], ["a.png"]),
        (["a_HR.png", "a_GT.png"], ["ax4.png"]),
    ],
)
def test_what_two_could_claim_is_given_to_none(tmp_path, hr, lr):
    names, _, unclear = matched(tmp_path, hr, lr)
    assert names == {}
    assert unclear == set(hr)


def test_case_of_letters_does_not_keep_a_pair_apart(tmp_path):
    assert matched(tmp_path, ["Baby.png"], ["baby_X4.png"])[0] == {"Baby.png": "baby_X4.png"}


def test_left_over_files_are_given_back(tmp_path):
    assert matched(tmp_path, ["a.png"], ["ax4.png", "bx4.png", "ax2.png"])[1] == [
        "bx4.png",
        "ax2.png",
    ]


def test_pairing_does_not_hang_on_the_order_of_files(tmp_path):
    hr, lr = ["a.png", "b.png", "a_x4.png"], ["ax4.png", "b_x4.png", "a_x4x4.png"]
    results = [
        matched(tmp_path, list(one), list(other))
        for one in itertools.permutations(hr)
        for other in itertools.permutations(lr)
    ]
    assert all(result[0] == results[0][0] for result in results)


def test_names_of_nothing_but_tags_keep_them():
    assert read_stem("x4", 4).core == "x4"
    assert read_stem("_LR", 4).core != ""
    assert read_stem("baby_x2", 4).core == "baby_x2"


HR, LR = picture(1), imresize(picture(1), 4)


@pytest.mark.parametrize(
    ("hr", "lr"),
    [
        ("img_001_SRF_4_HR", "img_001_SRF_4_LR"),
        ("0001", "0001x4"),
        ("cat", "cat_LR"),
        ("HR_cat", "LR_cat"),
        ("cat_HR_x4", "cat_LR_x4"),
        ("cat_GT", "cat_bicLRx4"),
        ("Canon_001_HR", "Canon_001_LR4"),
        ("cat(HR)", "cat(LR)"),
        ("0001", "0001x4m"),
    ],
)
def test_hr_and_lr_in_one_folder_are_pairs(tmp_path, hr, lr):
    write(tmp_path / f"{hr}.png", HR)
    write(tmp_path / f"{lr}.png", LR)
    found = open_folder(tmp_path, role="test", scale=4)
    assert [(pair.hr.stem, pair.lr.stem) for pair in found.pairs] == [(hr, lr)]
    assert "holds HR and LR images" in found.notices[0]
    made = open_folder(tmp_path, role="test", scale=4, lr="none")
    assert [(pair.hr.stem, pair.lr) for pair in made.pairs] == [(hr, None)]


def test_hr_and_lr_in_one_folder_are_refused_by_name_where_they_are_no_pairs(tmp_path):
    write(tmp_path / "cat.png", HR)
    write(tmp_path / "cat_x4.png", picture(2))  # of HR's size
    write(tmp_path / "dog.png", picture(3))
    found = open_folder(tmp_path, role="test", scale=4)
    assert found.pairs == ()
    assert sorted(file.name for file, _ in found.problems) == ["cat_x4.png", "dog.png"]


def test_results_of_others_beside_pairs_are_told_and_not_used(tmp_path):
    write(tmp_path / "a_HR.png", HR)
    write(tmp_path / "a_LR.png", LR)
    write(tmp_path / "a_SRCNN.png", picture(2))
    found = open_folder(tmp_path, role="test", scale=4)
    assert [pair.hr.name for pair in found.pairs] == ["a_HR.png"]
    assert "1 images of" in found.notices[1]
    assert "a_SRCNN.png: not used" in found.notices[1]


def test_folders_of_one_kind_are_not_split(tmp_path):
    for names in (
        ["a.png", "b.png"],
        ["a_x4.png", "b_x4.png"],
        ["a_LR.png", "b_LR.png"],
        ["a.png", "b_x4.png"],
    ):
        assert split_mixed([tmp_path / name for name in names], 4) is None
