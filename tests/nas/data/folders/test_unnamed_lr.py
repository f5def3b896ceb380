"""LR images that only sizes tell are refused, told, or paired by the user."""

import pytest

from nas.data import imresize
from nas.data.folders.layouts import open_folder
from nas.data.roles import open_roles
from tests.nas.data.pictures import SHARED, config, picture, write, write_pairs


def write_both(folder, hr, lr, count=3, scale=4):
    """Write HR and LR images under names with {0} for their number."""
    for number in range(1, count + 1):
        image = picture(number)
        write(folder / f"{hr.format(number)}.png", image)
        write(folder / f"{lr.format(number)}.png", imresize(image, scale))


UNKNOWN_TAGS = [
    ("im{0}", "im{0}_small"),
    ("im{0}", "im{0}_down4"),
    ("im{0}", "im{0}_1_4"),
    ("im{0}", "im{0}@0.25x"),
    ("img_hr_{0}", "img_lr_{0}"),
    ("hr{0}", "lr{0}"),
    ("{0}H", "{0}L"),
    ("gt-{0}", "input-{0}"),
    ("{0}_target", "{0}_input"),
    ("X4_HR_{0}", "X4_LR_{0}"),
    ("im{0}_x1", "im{0}_x4"),
    ("im{0}_4x", "im{0}_1x"),
    ("im{0}_orig", "im{0}_x4"),
    ("im{0}_ref", "im{0}_LR"),
    ("große_{0}", "kleine_{0}"),
    ("H/{0}", "L/{0}"),
    ("label/{0}", "data/{0}"),
]


@pytest.mark.parametrize(("hr", "lr"), UNKNOWN_TAGS)
@pytest.mark.parametrize("count", [1, 3])
def test_hr_and_lr_images_under_unknown_names_are_refused(tmp_path, hr, lr, count):
    write_both(tmp_path, hr, lr, count)
    with pytest.raises(
        ValueError, match=r"1/4 of the size of .*data\.train=\S+ data\.lr_train="
    ) as caught:
        open_folder(tmp_path, role="train", scale=4)
    assert len(str(caught.value)) <= 300
    assert len(open_folder(tmp_path, role="train", scale=4, lr="none").pairs) == 2 * count


@pytest.mark.parametrize(
    ("hr", "lr"), [("baby", "baby_small"), ("butterfly_ref", "butterfly_down")]
)
def test_names_without_numbers_are_compared_by_their_words(tmp_path, hr, lr):
    write_both(tmp_path, hr, lr, 1)
    with pytest.raises(ValueError, match=r"data\.lr=none"):
        open_folder(tmp_path, role="test", scale=4)


@pytest.mark.parametrize(
    ("hr", "lr"), [one for one in UNKNOWN_TAGS if one[1] not in ("im{0}_x4", "L/{0}")]
)
def test_the_two_folders_that_the_refusal_asks_for_are_pairs(tmp_path, hr, lr):
    write_both(tmp_path, f"x/{hr}", f"y/{lr}")
    found = open_folder(tmp_path / "x", role="test", scale=4, lr=str(tmp_path / "y"))
    assert found.problems == ()
    assert [pair.lr.stem for pair in found.pairs] == [
        lr.format(n).split("/")[-1] for n in (1, 2, 3)
    ]


def test_lr_images_of_sizes_rounded_up_are_found(tmp_path):
    write(tmp_path / "cat1.png", picture(1, 63, 81))
    write(tmp_path / "small1.png", picture(1, 16, 21))
    with pytest.raises(ValueError, match=r"small1\.png has 1/4"):
        open_folder(tmp_path, role="test", scale=4)


@pytest.mark.parametrize(
    "names",
    [
        ["im1", "im2"],  # other numbers
        ["Canon_1_2", "Canon_1_3"],
        ["cat", "dog"],
        ["img_a", "img_b"],
        ["0001", "0001T2"],  # a multi-scale copy
    ],
)
def test_images_of_other_names_are_hr_images_whatever_their_sizes(tmp_path, names):
    write(tmp_path / f"{names[0]}.png", picture(1))
    write(tmp_path / f"{names[1]}.png", picture(2, 16, 20))
    found = open_folder(tmp_path, role="train", scale=4)
    assert len(found.pairs) == 2
    assert found.notices == ()


def test_a_small_copy_among_many_images_is_told(tmp_path):
    write_pairs(tmp_path, None, [f"im{number}" for number in range(1, 11)])
    write(tmp_path / "im3_thumbnail.png", picture(2, 16, 20))
    found = open_folder(tmp_path, role="train", scale=4)
    assert len(found.pairs) == 11
    assert "im3_thumbnail.png has 1/4 of the size of im3.png" in found.notices[0]


def test_lr_tags_of_a_part_without_hr_images_are_refused(tmp_path):
    write_pairs(tmp_path, None, ["cat", "dog_LR", "bird_x2"])
    with pytest.raises(
        ValueError, match=r"2 of 3 images are LR ones by their names, such as bird_x2\.png"
    ):
        open_folder(tmp_path, role="test", scale=4)


@pytest.mark.parametrize("lr", ["L", "input", "HR/bicubic"])
def test_lr_images_beside_an_hr_folder_are_told_by_their_sizes(tmp_path, lr):
    write_both(tmp_path, "HR/{0}", "tmp/{0}")
    (tmp_path / "tmp").rename(tmp_path / lr)
    notices = open_folder(tmp_path / "HR", role="test", scale=4).notices
    assert len(notices) == 1
    assert "1/4 of the size and of the same names lie in" in notices[0]
    assert "data.lr=FOLDER takes them" in notices[0]
    found = open_folder(tmp_path / "HR", role="test", scale=4, lr=str(tmp_path / lr))
    assert all(pair.lr is not None for pair in found.pairs)


def test_other_images_beside_an_hr_folder_are_not_told(tmp_path):
    write_pairs(tmp_path / "mine", None, ["1", "2"])
    write_pairs(tmp_path / "others", None, ["1", "2"], first_seed=5)
    assert open_folder(tmp_path / "mine", role="test", scale=4).notices == ()


@pytest.mark.parametrize("tag", ["x4m", "x4d", "x4w1"])
def test_lr_folders_of_div2k_that_are_told_can_be_named(tmp_path, tag):
    write_both(tmp_path, "DIV2K_train_HR/000{0}", f"DIV2K_train_LR_mild/000{{0}}{tag}")
    found = open_folder(tmp_path, role="train", scale=4)
    assert "data.lr_train=FOLDER takes others" in found.notices[0]
    lr = str(tmp_path / "DIV2K_train_LR_mild")
    roles = open_roles(config(train=tmp_path, lr_train=lr), scale=4, progress=False)
    assert [pair.lr.stem for pair in roles.need("train").pairs] == [
        f"000{n}{tag}" for n in (1, 2, 3)
    ]


def test_of_the_wild_lr_images_of_one_image_the_first_is_used(tmp_path):
    for number in range(1, 5):
        write_both(tmp_path, "HR/000{0}", f"LR/000{{0}}x4w{number}")
    found = open_folder(tmp_path, role="train", scale=4)
    assert [pair.lr.stem for pair in found.pairs] == ["0001x4w1", "0002x4w1", "0003x4w1"]
    assert found.problems == ()
    assert "the first is used, not such as 0001x4w2.png (9)" in found.notices[0]


def test_photographs_raise_no_alarm():
    if not SHARED.is_dir():
        pytest.skip(f"no {SHARED}: the photographs are not in the repository")
    for name in ("Set5/HR", "Set14/HR", "BSD100/HR", "BSDS200"):
        for scale in (2, 3, 4):
            found = open_folder(SHARED / name, role="train", scale=scale)
            assert not any("of the size" in line for line in found.notices)
