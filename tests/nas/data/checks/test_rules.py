# ruff: noqa: E501 - names, many a line
"""The challenge's ban: DIV2K's validation and test images by name, whole and derived."""

import pytest

from nas.data.checks.rules import find_div2k_number, resembles_div2k, why_forbidden
from nas.data.roles import open_roles
from tests.nas.data.pictures import CASES, config, needs_cases, picture, write, write_pairs

CERTAIN = [
    "0801", "0900", "0901", "1000", "0801x4", "0801x2", "0801_x4", "0801_s001", "0801T0", "0801T3_s012", "0801_flip",
    "0801_hflip", "0801_rot90", "0801_hflip_rot270", "0801-crop-3", "0801_1", "0801_0480_0960", "0801_aug1", "0801_LR",
    "0801_mirrored", "0801_scale0.9", "0801_gray", "0801 (1)", "0801_copy", "DIV2K_0801", "div2k-0801", "DIV2K0801",
    "DIV2K_valid_HR_0801", "div2k_801", "DIV2K_0801_holiday", "valid_0801", "hr_0801x4", "crop_0801_s2", "DF2K_0801",
    "mine_0801", "aug-0801_hue2", "set1_0900_s004_cutblur", "0801_row1_col2", "0801_x100_y200", "0801_center",
    "0801_100x100", "0801_left", "0801_sr", "0801/s001", "0801/1/s001", "crops/0900/12",
]  # fmt: skip
SIMILAR = ["IMG_0801", "DSC_0900.edit", "frame_0801", "0801_holiday", "photo_1000", "img0850"]
INNOCENT = [
    "0800", "0001", "801", "000801", "0000801", "P1010801", "Flickr2K_000801", "lsdir_0000801", "DIV2K_0001_s0801",
    "0001_0801", "0001_s801", "20801", "1001", "DIV2K_0800", "DIV2K_0001", "div2k_lsdir_0000801", "0123_0900", "0801/sunset",
]  # fmt: skip


@pytest.mark.parametrize("name", CERTAIN)
def test_certain_names_are_refused(tmp_path, name):
    file = tmp_path / "mine" / f"{name}.png"
    assert find_div2k_number(file) in (801, 900, 901, 1000)
    assert "by its name (rename it if it is not DIV2K's)" in why_forbidden(file, tmp_path / "mine")


@pytest.mark.parametrize("name", SIMILAR)
def test_similar_names_are_told(tmp_path, name):
    file = tmp_path / "mine" / f"{name}.png"
    assert why_forbidden(file, tmp_path / "mine") is None
    assert resembles_div2k(file)


@pytest.mark.parametrize("name", INNOCENT)
def test_innocent_names_are_neither(tmp_path, name):
    file = tmp_path / "mine" / f"{name}.png"
    assert why_forbidden(file, tmp_path / "mine") is None
    assert not resembles_div2k(file)


@pytest.mark.parametrize("path", ["DIV2K/more/odd_0801_name.png", "DIV2K_valid/0801/s001.png"])
def test_a_folder_of_div2k_makes_a_number_certain(tmp_path, path):
    assert find_div2k_number(tmp_path / path) == 801
    assert find_div2k_number(tmp_path / "DIV2K/0001_s0801.png") is None


@pytest.mark.parametrize(
    "name", ["0801" + "hr" * 60 + "!", "lrbi" * 60 + "0801!", "div2k" + "x4" * 80]
)
def test_long_names_take_no_longer_than_others(tmp_path, name):
    """A pattern that tries every way of reading them would never end."""
    assert find_div2k_number(tmp_path / f"{name}.png") is None


def test_a_link_does_not_change_what_a_file_is(tmp_path):
    write(tmp_path / "store/0801.png", picture(0))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.png").symlink_to(tmp_path / "store/0801.png")
    with pytest.raises(ValueError, match="DIV2K 0801 is a validation image"):
        open_roles(config(train=tmp_path / "mine"), scale=4, challenge="ntire2026")


def test_similar_names_train_with_a_notice_under_ntire_alone(tmp_path):
    write_pairs(tmp_path / "mine", None, ["IMG_0801", "IMG_0802", "cat"])
    roles = open_roles(config(train=tmp_path / "mine"), scale=4, challenge="ntire2026")
    assert len(roles.need("train")) == 3
    assert "2 image(s) with a number of DIV2K's" in roles.notices[0]
    assert "IMG_0801.png" in roles.notices[0]
    assert open_roles(config(train=tmp_path / "mine"), scale=4).notices == ()


@needs_cases
def test_case_of_a_sub_image_is_refused():
    case = CASES / "d1_subimage_of_0801"
    with pytest.raises(ValueError, match=r"0801_s001\.png, which ntire2026 does not allow"):
        open_roles(
            config(train=case / "train", val=case / "valid"),
            scale=4,
            challenge="ntire2026",
            progress=False,
        )
