"""`nas data`, and the files of conf/data."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from nas.cli.door import main
from nas.commands.data import run
from nas.data import imresize
from nas.data.checks.lr_origin import find_origin
from nas.data.roles import open_roles
from tests.nas.data.pictures import config, picture, write, write_pairs

CONF = Path(__file__).parents[3] / "conf" / "data"
COMMON = ("train", "val", "test", "lr", "lr_train", "synthetic", "on_error", "memory_mib", "cache")


@pytest.fixture
def benchmark(tmp_path):
    write_pairs(tmp_path / "HR", tmp_path / "LR_bicubic/X4", ["a", "b", "c"])
    return tmp_path


def origin(folder, sample=None):
    pairs = open_roles(config(test=folder), scale=4).need("test").pairs
    return find_origin(pairs, scale=4, sample=sample, progress=False)


def test_matlab_files_are_told(benchmark):
    assert (origin(benchmark).kind, origin(benchmark).num_checked) == ("matlab", 3)
    assert origin(benchmark, sample=2).num_checked == 2


def test_python_files_are_told(benchmark):
    for seed, name in enumerate("abc"):
        rough = np.random.default_rng(seed).integers(0, 256, (64, 80, 3), dtype=np.uint8)
        write(benchmark / "HR" / f"{name}.png", rough)
        write(benchmark / "LR_bicubic/X4" / f"{name}x4.png", imresize(rough, 4, variant="python"))
    assert origin(benchmark).kind == "python"
    assert str(origin(benchmark)).startswith("not MATLAB bicubic, but Python bicubic: ")
    assert str(origin(benchmark)).endswith("(3 of 3 checked)")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (1, "1 value differs, by 9"),
        (2, "2 values differ, by up to 9"),
        (72, "1.0% of values differ"),
    ],
)
def test_few_values_that_differ_are_counted(tmp_path, changed, words):
    image = picture(1, 160, 240)
    lr = imresize(image, 4)
    values = lr.reshape(-1)
    values[:changed] = np.where(values[:changed] < 128, values[:changed] + 9, values[:changed] - 9)
    write(tmp_path / "HR/a.png", image)
    write(tmp_path / "LR/ax4.png", lr)
    assert str(origin(tmp_path)).startswith(f"not MATLAB bicubic: {words}")


@pytest.mark.parametrize("lr", ["scene", "black"])
def test_lr_images_of_another_scene_are_refused(benchmark, lr):
    bright_above, bright_at_corners = picture(7) // 4, picture(8) // 4
    bright_above[:32] += 160
    for corner in (bright_at_corners[:32, :40], bright_at_corners[32:, 40:]):
        corner += 160
    write(benchmark / "HR/b.png", bright_above)
    write(benchmark / "LR_bicubic/X4/bx4.png", imresize(bright_at_corners, 4) * (lr == "scene"))
    with pytest.raises(
        ValueError, match=r"bx4\.png: it is no LR image of b\.png: .* dB .*data\.lr=none"
    ):
        open_roles(config(test=benchmark), scale=4)
    skipped = open_roles(config(test=benchmark, on_error="skip"), scale=4)
    assert len(skipped.need("test")) == 2


def test_degraded_lr_images_of_the_same_scene_stay(benchmark):
    folder = benchmark / "LR_bicubic/X4"
    lr = [imresize(picture(seed), 4).astype(float) for seed in range(3)]
    noise = np.random.default_rng(0).normal(0, 50, lr[0].shape)
    changed = (
        lr[0] * 0.3,
        lr[1] + noise,
        lr[2][..., ::-1],
    )  # dark, noisy, colours in another order
    for name, image in zip("abc", changed, strict=True):
        write(folder / f"{name}x4.png", image.clip(0, 255).astype(np.uint8))
    assert origin(benchmark).kind == "neither"


def test_other_files_are_told(benchmark):
    write(benchmark / "LR_bicubic/X4/cx4.png", picture(2)[::4, ::4])
    verdict = origin(benchmark)
    assert verdict.kind == "neither"
    assert 0 < verdict.share <= 1 / 3
    assert origin(benchmark, sample=1).kind == "matlab"


def test_no_files_are_told(tmp_path):
    write_pairs(tmp_path, None, ["a"])
    assert origin(tmp_path).kind == "none"


def test_run_lists_roles_and_names_what_was_left_out(benchmark, capsys):
    train = benchmark / "mine"
    write_pairs(train, None, ["copy", "own"], first_seed=2)
    (train / "bad.png").write_text("text")
    assert (
        run(
            data=config(train=train, test=benchmark, on_error="skip"),
            scale=4,
            sample=None,
            out=None,
        )
        == 0
    )
    out = capsys.readouterr().out
    assert "MATLAB bicubic, exact (3 of 3 checked)" in out
    assert "train: 1 images" in out
    assert "val: none" in out
    assert f"skipped train: {train / 'bad.png'}: not an image" in out
    assert (
        f"dropped {train / 'copy.png'} from train: near-duplicate of {benchmark / 'HR/c.png'} in "
        "test" in out
    )


def test_run_refuses_a_sample_of_nothing(benchmark):
    with pytest.raises(ValueError, match="sample must be at least 1"):
        run(data=config(test=benchmark), scale=4, sample=0, out=None)
    with pytest.raises(ValueError, match="no images were named"):
        run(data=config(), scale=4, sample=None, out=None)


def test_files_of_conf_say_the_common_keys_alike():
    files = sorted(CONF.glob("*.yaml"))
    assert [file.stem for file in files] == ["builtin", "div2k", "flickr2k", "folder", "lsdir"]
    lines = [
        [line for line in file.read_text().splitlines() if line.startswith(COMMON)]
        for file in files
    ]
    usual = lines[0]
    assert all(one == usual for one in lines)
    assert len(usual) == len(COMMON)
    assert all("#" in line for line in usual)


def test_built_in_roles_share_no_picture():
    photos = yaml.safe_load((CONF / "builtin.yaml").read_text())["sources"]["builtin"]
    assert not set(photos["train"]) & set(photos["val"])
    scenes = [{name.partition("_")[0] for name in photos[role]} for role in ("train", "val")]
    assert not scenes[0] & scenes[1]  # a stereo pair is one scene


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data=folder", "data.train={tmp}/gone"], "data.train: no such folder: "),
        (["data=folder", "data.train={tmp}/empty"], "data.train: no images in "),
        (["data=folder", "data.val={tmp}/text"], "/text/a.png: not an image (it holds text)"),
        (["data=div2k"], "data.sources.div2k.root is not set"),
        (["data.on_error=maybe"], "data.on_error"),
        (["scale=5"], "scale"),
        (["data=folder"], "no images were named"),
    ],
)
def test_door_says_in_one_line_what_was_wrong(tmp_path, capsys, arguments, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.png").write_text("text")
    assert main(["data", *(argument.format(tmp=tmp_path) for argument in arguments)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_door_mixes_sources(tmp_path, capsys):
    write_pairs(tmp_path / "D" / "DIV2K_train_HR", None, ["0001"])
    write_pairs(tmp_path / "L" / "0001000", None, ["0000001"], first_seed=1)
    roots = [
        f"data.sources.div2k.root={tmp_path / 'D'}",
        f"data.sources.lsdir.root={tmp_path / 'L'}",
    ]
    assert (
        main(
            [
                "data",
                "data=[div2k,lsdir]",
                *roots,
                "data.sources.lsdir.weight=3",
                "challenge=ntire2026",
            ]
        )
        == 0
    )
    assert "patches from div2k 25%, lsdir 75%" in capsys.readouterr().out
