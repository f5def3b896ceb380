"""Which images a role has: shares of synthetic ones, photographs at several scales."""

import pytest

from nas.cli.door import main
from nas.data.config import SYNTHETIC, FolderSource, PhotoSource
from nas.data.patches import PatchStore
from nas.data.roles import open_roles
from nas.data.synthetic import pictures
from tests.nas.data.pictures import config, picture, write, write_pairs


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(pictures, "COUNT", 2)


@pytest.fixture
def folder(tmp_path):
    write_pairs(tmp_path / "train", None, ["a", "b"])
    write_pairs(tmp_path / "val", None, ["c"], first_seed=10)
    return tmp_path


def test_a_share_of_the_patches_is_synthetic(folder):
    data = config(train=folder / "train", val=folder / "val", synthetic=0.25)
    roles = open_roles(data, scale=4)
    train = roles.need("train")
    assert [pair.source for pair in train.pairs] == ["", "", SYNTHETIC, SYNTHETIC]
    store = PatchStore(train, seed=0, progress=False)
    store._positions[8, 8] = store._list_positions((8, 8))
    drawn = [image for image, *_ in store._draw_patches(0, 4000, (8, 8))]
    assert sum(image >= 2 for image in drawn) / 4000 == pytest.approx(0.25, abs=0.03)
    assert [pair.source for pair in roles.need("val").pairs] == [""]
    changed = config(train=folder / "train", val=folder / "val", synthetic=0.5)
    assert open_roles(changed, scale=4).need("train").fingerprint != train.fingerprint


def test_shares_hold_beside_weights_of_sources(folder):
    photos = PhotoSource(train=["rocket"], val=[], test=[], scales=[1.0], synthetic=0.0, weight=3.0)
    train = open_roles(config(sources={"builtin": photos}, synthetic=0.4), scale=4).need("train")
    assert dict(train.weights) == pytest.approx({"builtin": 3.0, SYNTHETIC: 2.0})


def test_synthetic_images_alone(folder):
    train = open_roles(config(train=folder / "train", synthetic=1.0), scale=4).need("train")
    assert {pair.source for pair in train.pairs} == {SYNTHETIC}
    assert len(open_roles(config(val=folder / "val", synthetic=1.0), scale=4).need("train")) == 2


def test_the_share_of_named_folders_is_shown(folder, capsys):
    overrides = ["data=folder", f"data.train={folder / 'train'}", "data.synthetic=0.001"]
    assert main(["data", *overrides]) == 0
    assert "patches from folders 99.9%, synthetic 0.1%" in capsys.readouterr().out


def test_builtin_photographs_ask_for_a_share_where_they_alone_train(folder):
    photos = PhotoSource(
        train=["rocket"], val=[], test=[], scales=[1.0], synthetic=0.75, weight=1.0
    )
    mine = FolderSource(root=str(folder / "train"), weight=1.0, first=None)
    alone = config(sources={"builtin": photos}, synthetic=None)
    assert dict(open_roles(alone, scale=4).need("train").weights) == {
        "builtin": 1.0,
        SYNTHETIC: 3.0,
    }
    for order in (("builtin", "mine"), ("mine", "builtin")):
        both = {"builtin": photos, "mine": mine}
        mixed = config(sources={name: both[name] for name in order}, synthetic=None)
        assert mixed.synthetic_share == 0
    named = config(sources={"builtin": photos}, train=folder / "train", synthetic=None)
    assert {pair.source for pair in open_roles(named, scale=4).need("train").pairs} == {""}


def test_synthetic_images_do_not_stand_for_images_that_cannot_be_used(folder):
    same = config(train=folder / "val", val=folder / "val", synthetic=0.5)
    with pytest.raises(ValueError, match=r"data\.train has no image left: dropped"):
        open_roles(same, scale=4)
    (folder / "broken").mkdir()
    (folder / "broken" / "a.png").write_text("text")
    broken = config(train=folder / "broken", val=folder / "val", synthetic=0.5, on_error="skip")
    with pytest.raises(ValueError, match=r"data\.train has no image left: skipped"):
        open_roles(broken, scale=4)


def test_a_patch_that_synthetic_images_do_not_hold_is_refused_by_name(folder):
    write(folder / "large" / "a.png", picture(3, 700, 700))
    data = config(train=folder / "large", synthetic=0.5)
    with pytest.raises(
        ValueError, match=r"synthetic images have LR sides of 128, below proxy\.patch=160"
    ):
        open_roles(data, scale=4, patch=160)


def test_the_name_of_synthetic_images_is_taken(folder):
    with pytest.raises(ValueError, match="synthetic is the name of the images that"):
        config(sources={SYNTHETIC: FolderSource(root=str(folder), weight=1.0, first=None)})


def test_where_nothing_was_named_to_train_on_nothing_is_added(folder):
    assert open_roles(config(val=folder / "val", synthetic=0.5), scale=4).train is None


@pytest.mark.parametrize("share", [-0.1, 1.01, float("nan")])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(ValueError, match=r"data\.synthetic must be from 0 to 1, got"):
        config(synthetic=share)


def test_training_photographs_come_at_each_scale_and_others_whole():
    photos = PhotoSource(
        train=["rocket"], val=["chelsea"], test=[], scales=[1.0, 0.5], synthetic=0.0, weight=1.0
    )
    roles = open_roles(config(sources={"builtin": photos}), scale=4)
    assert [pair.size for pair in roles.need("train").pairs] == [(427, 640), (214, 320)]
    assert [pair.size for pair in roles.need("val").pairs] == [(300, 451)]


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ([], "scales must hold one or more"),
        ([1.0, 1.0], "different numbers"),
        ([2.0], "from 0.1 to 1"),
    ],
)
def test_scales_that_cannot_be_are_refused(scales, message):
    with pytest.raises(ValueError, match=message):
        PhotoSource(train=[], val=[], test=[], scales=scales, synthetic=0.0, weight=1.0)
