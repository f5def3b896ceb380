"""Roles: no scene in two of them, the challenge's rules, mixtures."""

import numpy as np
import pytest
from PIL import Image

from nas.data.config import FolderSource, PhotoSource
from nas.data.duplicates.hashes import LIMIT, image_hash, nearest
from nas.data.pixels.images import read_image
from nas.data.roles import open_roles
from nas.data.synthetic import pictures
from tests.nas.data.pictures import CASES, SHARED, config, needs_cases, picture, write, write_pairs


@pytest.fixture
def folders(tmp_path):
    """Three folders of two scenes each, all different."""
    for seed, role in enumerate(("train", "val", "test")):
        write_pairs(tmp_path / role, None, [f"{role}_a", f"{role}_b"], first_seed=10 * seed)
    return tmp_path


def open_all(folders, **given):
    return open_roles(
        config(
            **{"train": folders / "train", "val": folders / "val", "test": folders / "test"} | given
        ),
        scale=4,
    )


def test_different_scenes_all_stay(folders):
    roles = open_all(folders)
    assert [len(roles.need(role)) for role in ("train", "val", "test")] == [2, 2, 2]
    assert roles.notices == ()
    assert sorted(roles.fingerprints) == ["test", "train", "val"]


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: np.asarray(Image.fromarray(image).resize((60, 48), Image.Resampling.BICUBIC)),
        lambda image: image[1:-1, 1:-1],
        lambda image: image[:, ::-1],
        lambda image: np.rot90(image),
    ],
    ids=["same", "smaller", "cropped", "mirrored", "turned"],
)
def test_near_duplicates_leave_the_lower_role(folders, change):
    write(folders / "train" / "copy_of_test.png", change(picture(20)))
    write(folders / "val" / "copy_of_test.png", change(picture(21)))
    write(folders / "train" / "copy_of_val.png", change(picture(10)))
    roles = open_all(folders)
    assert [pair.name for pair in roles.need("train").pairs] == ["train_a", "train_b"]
    assert [pair.name for pair in roles.need("val").pairs] == ["val_a", "val_b"]
    assert len(roles.need("test")) == 2
    assert len(roles.notices) == 3
    assert all("near-duplicate of" in notice for notice in roles.notices)
    assert "copy_of_val.png from train" in roles.notices[-1]
    assert "val_a.png in val" in roles.notices[-1]


def test_images_without_content_resemble_nothing():
    flat = image_hash(np.full((40, 40, 3), 9, dtype=np.uint8))
    black = image_hash(np.zeros((40, 40, 3), dtype=np.uint8))
    assert nearest(flat[None], black[None])[1][0] > LIMIT


def test_a_role_without_images_left_is_refused(folders):
    with pytest.raises(
        ValueError, match=r"data\.train has no image left: dropped .*val_a\.png from train"
    ):
        open_all(folders, train=folders / "val")


def test_womans_scene_is_found_and_nothing_else():
    if not SHARED.is_dir():
        pytest.skip(f"no {SHARED}: the photographs are not in the repository")
    given = {
        "train": SHARED / "BSDS200",
        "val": SHARED / "BSD100",
        "test": [str(SHARED / "Set5"), str(SHARED / "Set14")],
    }
    roles = open_roles(config(**given), scale=4)
    assert len(roles.notices) == 1
    assert "302003.jpg from train" in roles.notices[0]
    assert "set5_005.png in test" in roles.notices[0]
    assert [len(roles.need(role)) for role in ("train", "val", "test")] == [199, 100, 19]
    hashes = [
        np.stack([image_hash(read_image(p.hr)) for p in roles.need(r).pairs])
        for r in ("train", "val")
    ]
    assert nearest(*hashes)[1].min() > LIMIT + 15  # the limit lies in a wide gap


@pytest.mark.parametrize(
    ("folder", "name", "reason"),
    [
        ("DIV2K_train_HR", "0801", "validation image"),
        ("DIV2K_train_HR", "0900", "validation image"),
        ("mine", "0850", "validation image"),
        ("DIV2K_train_HR", "0901", "test image"),
        ("DIV2K_LSDIR_valid_HR", "0000001", "validation or test set"),
        ("DIV2Kvalid", "a", "validation or test set"),
        ("val_DIV2K", "a", "validation or test set"),
        ("DIV2K/valid", "a", "validation or test set"),
        ("DIV2K_LSDIR_test_HR", "0000001", "validation or test set"),
        ("my_test_images", "a", "test set by its folder"),
        ("val1/HR/val", "0000001", "LSDIR's validation set"),
    ],
)
def test_ntire_refuses_its_val_and_test_images_in_training_alone(tmp_path, folder, name, reason):
    folder = tmp_path / folder
    write_pairs(folder, None, [name])
    with pytest.raises(ValueError, match=rf"{name}\.png, which ntire2026 does not allow.*{reason}"):
        open_roles(config(train=folder), scale=4, challenge="ntire2026")
    assert open_roles(config(val=folder), scale=4, challenge="ntire2026").val is not None
    assert open_roles(config(train=folder), scale=4).train is not None


def test_ntire_allows_what_it_allows(tmp_path):
    root = tmp_path / "test_of_mine"  # a folder above the one that is named may be called anything
    write_pairs(root / "DIV2K" / "DIV2K_train_HR", None, ["0001", "0800"])
    write_pairs(root / "LSDIR" / "0001000", None, ["0000801", "0000900"], first_seed=5)
    write_pairs(root / "latest", None, ["contest", "801"], first_seed=9)
    train = [str(root / name) for name in ("DIV2K", "LSDIR", "latest")]
    assert (
        len(
            open_roles(config(train=train), scale=4, challenge="NTIRE 2026 Efficient SR").need(
                "train"
            )
        )
        == 6
    )


@pytest.mark.parametrize("cut", ["header", "data"])
def test_unusable_files_stop_or_are_skipped_by_name(folders, cut):
    bad = folders / "train" / "bad.png"
    write(bad, np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = bytearray(bad.read_bytes())
    data[60:5000] = data[60:100] if cut == "header" else bytes(4940)
    bad.write_bytes(data[:-20] if cut == "header" else data)
    with pytest.raises(
        ValueError, match=r"^1 unusable image file\(s\): train: .*bad\.png.*data\.on_error=skip$"
    ):
        open_all(folders)
    roles = open_all(folders, on_error="skip")
    assert [pair.name for pair in roles.need("train").pairs] == ["train_a", "train_b"]
    assert len(roles.notices) == 1
    assert roles.notices[0].startswith(f"skipped train: {bad}: ")


def test_sources_mix_by_weight_and_subset(tmp_path):
    div2k, lsdir = tmp_path / "DIV2K", tmp_path / "LSDIR"
    write_pairs(div2k / "DIV2K_train_HR", None, ["0001", "0002"])
    write_pairs(div2k / "DIV2K_valid_HR", None, ["0801"], first_seed=20)
    write_pairs(lsdir / "0001000", None, ["0000001", "0000002", "0000003"], first_seed=30)
    sources = {
        "div2k": FolderSource(root=str(div2k), weight=3.0, first=None),
        "lsdir": FolderSource(root=str(lsdir), weight=1.0, first=2),
    }
    roles = open_roles(config(sources=sources), scale=4, challenge="ntire2026")
    train = roles.need("train")
    assert [(p.source, p.name) for p in train.pairs][1:3] == [
        ("div2k", "0002"),
        ("lsdir", "0000001"),
    ]
    assert len(train) == 4
    assert train.weights == (("div2k", 3.0), ("lsdir", 1.0))
    assert [pair.name for pair in roles.need("val").pairs] == ["0801"]
    assert roles.test is None
    other = tmp_path / "mine"
    write_pairs(other, None, ["a"], first_seed=40)
    replaced = open_roles(config(sources=sources, train=other), scale=4)
    assert [pair.name for pair in replaced.need("train").pairs] == ["a"]


def test_built_in_photographs_need_nothing_else():
    photos = PhotoSource(
        train=["motorcycle_left", "motorcycle_right"],
        val=["chelsea"],
        test=[],
        scales=[1.0],
        synthetic=0.0,
        weight=1.0,
    )
    roles = open_roles(config(sources={"builtin": photos}), scale=4)
    lr, hr = roles.need("val").load(0)
    assert hr.shape == (300, 448, 3)
    assert lr.shape == (75, 112, 3)
    unknown = PhotoSource(train=["lena"], val=[], test=[], scales=[1.0], synthetic=0.0, weight=1.0)
    with pytest.raises(
        ValueError, match=r"data\.sources\.builtin\.train: unknown .*'lena'; known: astronaut"
    ):
        open_roles(config(sources={"builtin": unknown}), scale=4)


def test_fewer_patches_than_a_batch_are_refused_unless_synthetic_images_train_too(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(pictures, "COUNT", 1)
    write_pairs(tmp_path / "train", None, ["a", "b"])  # 16x20 LR pixels, 4 patches of 8x8 each
    data = config(train=tmp_path / "train")
    assert len(open_roles(data, scale=4, patch=8, batch_size=8).need("train")) == 2
    message = r"2 training image\(s\) hold 8 LR patches of 8x8, fewer .*=9\).*data\.synthetic=0\.5$"
    with pytest.raises(ValueError, match=message):
        open_roles(data, scale=4, patch=8, batch_size=9)
    open_roles(config(train=tmp_path / "train", synthetic=0.5), scale=4, patch=8, batch_size=9)
    # What a higher role shows too does not count.
    write_pairs(tmp_path / "val", None, ["b"], first_seed=1)
    with pytest.raises(ValueError, match="hold 4 LR patches of 8x8"):
        open_roles(
            config(train=tmp_path / "train", val=tmp_path / "val"), scale=4, patch=8, batch_size=5
        )


def test_what_is_missing_is_said_by_its_key(folders):
    roles = open_roles(config(train=folders / "train"), scale=4, roles=("train",))
    with pytest.raises(ValueError, match=r"data\.val is not set"):
        roles.need("val")
    empty = {"div2k": FolderSource(root=None, weight=1.0, first=None)}
    with pytest.raises(ValueError, match=r"data\.sources\.div2k\.root is not set"):
        open_roles(config(sources=empty), scale=4)
    with pytest.raises(ValueError, match=r"data\.train is empty"):
        config(train="")
    with pytest.raises(ValueError, match="weight must be more than 0"):
        FolderSource(root=None, weight=0.0, first=None)
    with pytest.raises(ValueError, match="first must be at least 1"):
        FolderSource(root=None, weight=1.0, first=0)


def test_val_and_test_images_without_a_pixel_inside_the_border_are_refused_with_their_size(
    tmp_path,
):
    write(tmp_path / "set/a.png", picture(0, 11, 40))
    write(tmp_path / "set/b.png", picture(1, 12, 12))
    with pytest.raises(
        ValueError,
        match=r"set/a\.png: 11x40 .height x width. leaves no pixel inside the border of 4",
    ):
        open_roles(config(test=tmp_path / "set"), scale=4, progress=False)
    roles = open_roles(config(val=tmp_path / "set", on_error="skip"), scale=4, progress=False)
    assert [pair.name for pair in roles.need("val").pairs] == ["b"]
    assert (
        len(open_roles(config(train=tmp_path / "set"), scale=4, progress=False).need("train")) == 2
    )


@pytest.mark.parametrize("lr", [False, True])
def test_training_images_below_the_patch_are_refused_by_their_headers(tmp_path, lr):
    write_pairs(tmp_path / "HR", tmp_path / "LR" if lr else None, ["a"])  # LR 16x20
    write(tmp_path / "HR/b.png", picture(7, 48, 60))
    if lr:
        write(tmp_path / "LR/bx4.png", picture(7, 12, 15))
    given = {"train": tmp_path}
    with pytest.raises(
        ValueError,
        match=r"1 of 2 training images have LR sides below proxy\.patch=16: b\.png \(12x15\); "
        r"use proxy\.patch=12, or leave them out with data\.on_error=skip",
    ):
        open_roles(config(**given), scale=4, patch=16, progress=False)
    assert len(open_roles(config(**given), scale=4, patch=12, progress=False).need("train")) == 2
    skipped = open_roles(config(**given, on_error="skip"), scale=4, patch=16, progress=False)
    assert "left out of training: 1 of 2" in skipped.notices[0]
    with pytest.raises(ValueError, match=r"2 of 2 training images .*; use proxy\.patch=12$"):
        open_roles(config(**given, on_error="skip"), scale=4, patch=17, progress=False)


def test_lr_of_a_role_is_named_and_ends_guessing(tmp_path):
    write_pairs(tmp_path / "train", tmp_path / "train_lr", ["a", "b"])
    write_pairs(tmp_path / "HR", tmp_path / "LR", ["c"], first_seed=5)
    write_pairs(tmp_path / "x", tmp_path / "own", ["c"], first_seed=5)
    both = {"train": tmp_path / "train", "val": tmp_path / "HR"}

    def lr_of(role, **given):
        roles = open_roles(config(**both, **given), scale=4, progress=False)
        found = roles.need(role).pairs[0].lr
        return found and found.parent.name

    own, train_lr = str(tmp_path / "own"), str(tmp_path / "train_lr")
    assert (lr_of("train"), lr_of("val")) == (None, "LR")
    assert (lr_of("train", lr=own), lr_of("val", lr=own)) == (None, "own")  # of what is judged
    assert (lr_of("train", lr="none"), lr_of("val", lr="none")) == (None, None)
    by_role = {"lr_train": train_lr, "lr": "none"}
    assert (lr_of("train", **by_role), lr_of("val", **by_role)) == ("train_lr", None)
    assert lr_of("train", lr_train="none", lr=own) is None
    assert lr_of("val", lr=[own]) == "own"
    alone = open_roles(config(train=tmp_path / "train", lr=train_lr), scale=4, progress=False)
    assert alone.need("train").pairs[0].lr is not None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lr": "x"}, r"data\.lr goes with a folder of HR images"),
        (
            {"val": "s", "lr_train": "x"},
            r"data\.lr_train goes with a folder of HR images.*data\.train=FOLDER",
        ),
        ({"train": "t", "lr": ""}, r"data\.lr is empty"),
        ({"train": "t", "lr_train": ["a", ""]}, r"data\.lr_train is empty"),
    ],
)
def test_lr_without_hr_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        config(**given)


def test_lr_folders_are_one_for_each_hr_folder():
    two = {"val": ["s1", "s2"], "test": "r"}
    assert config(**two, lr=["a", "none", "c"]).lr_folders("val") == ["a", "none"]
    assert config(**two, lr=["a", "none", "c"]).lr_folders("test") == ["c"]
    assert config(**two, lr="none").lr_folders("val") == ["none", "none"]
    assert config(**two, train="t", lr=["a", "b", "c"]).lr_folders("train") == [None]
    assert config(train=["t1", "t2"], lr_train="none").lr_folders("train") == ["none", "none"]
    with pytest.raises(
        ValueError, match=r"data\.lr names 1 folder.s., data\.val and data\.test 3: name an LR"
    ):
        config(**two, lr="a").lr_folders("test")
    with pytest.raises(ValueError, match=r"data\.lr_train names 2 folder.s., data\.train 1"):
        config(train="t", lr_train=["a", "b"]).lr_folders("train")


def test_origin_of_lr_is_said_for_each_role(tmp_path):
    write_pairs(tmp_path / "HR", tmp_path / "LR_bicubic/X4", ["a", "b"])
    write_pairs(tmp_path / "mine", None, ["c"], first_seed=5)
    roles = open_roles(config(train=tmp_path / "mine", val=tmp_path), scale=4, progress=False)
    assert roles.lr_origins == {
        "train": "made from HR, MATLAB bicubic",
        "val": "MATLAB bicubic, exact (2 of 2 checked)",
    }
    assert roles.lr_notice == (
        "train: LR is made from HR, MATLAB bicubic. val: LR is MATLAB bicubic, exact (2 of 2 "
        "checked)"
    )
    two = open_roles(config(val=[str(tmp_path), str(tmp_path / "mine")]), scale=4, progress=False)
    assert (
        two.lr_origin("val")
        == "MATLAB bicubic, exact (2 of 2 checked); made from HR, MATLAB bicubic"
    )


@needs_cases
@pytest.mark.parametrize(
    ("folder", "reason"),
    [("deep", "more than 8 bits"), ("alpha", "partly transparent"), ("cmyk", "colour mode CMYK")],
)
def test_cases_of_files_that_cannot_be_used_are_refused(folder, reason):
    with pytest.raises(ValueError, match=reason):
        open_roles(config(test=CASES / "r1_kinds_of_files" / folder), scale=4, progress=False)


@needs_cases
def test_cases_of_files_that_can_be_used_are_read():
    roots = [str(CASES / "r1_kinds_of_files" / folder) for folder in ("ok", "mpo", "trailer")]
    images = open_roles(config(test=roots), scale=4, progress=False).need("test")
    assert len(images) == 8
    assert all(images.load(i)[1].shape[2] == 3 for i in range(8))


@needs_cases
def test_case_of_tiny_images_is_refused():
    reason = (
        r"0\.png: 8x8 \(height x width\) leaves no pixel .*\(and 1 more\); "
        r"data\.test has no other images"
    )
    with pytest.raises(ValueError, match=reason):
        open_roles(config(test=CASES / "p3_tiny_report_image/set"), scale=4, progress=False)


@needs_cases
def test_case_of_pillows_lr_is_told():
    roles = open_roles(config(test=CASES / "w1_LR_by_pillow/set"), scale=4, progress=False)
    assert roles.lr_origin("test").startswith(
        "not MATLAB bicubic: 26.7% of values differ, by up to 4"
    )
