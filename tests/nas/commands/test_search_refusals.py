"""What `nas search` refuses: one line that names the key, exit status 2, and nothing left behind."""

import numpy as np
import pytest
from PIL import Image

from nas.cli.door import main


@pytest.fixture
def photos(tmp_path):
    """Two folders of small pictures, unlike each other."""
    rng = np.random.default_rng(0)
    for role in ("train", "val"):
        (tmp_path / "data" / role).mkdir(parents=True)
        for i in range(2):
            coarse = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            picture = Image.fromarray(coarse).resize((128, 128), Image.Resampling.BICUBIC)
            picture.save(tmp_path / "data" / role / f"{role}{i}.png")
    return tmp_path / "data"


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Run a command that has to be refused, from an empty folder; gives its one line."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*arguments):
        assert main(["search", *map(str, arguments)]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1, lines
        assert not list(folder.iterdir()), "a refused command leaves nothing behind"
        return lines[0]

    return run


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("chanels=3", ["chanels"]),
        ("space.chanels=[16]", ["space", "chanels", "channels"]),
        ("trials=many", ["trials", "many"]),
        ("space.channels=[0]", ["channels", "at least 1", "0"]),
        ("space.num_blocks=[0]", ["num_blocks", "at least 1"]),
        ("space.attention=[magic]", ["magic", "parameter_free"]),
        ("space=nowhere", ["nowhere", "span", "spanv2"]),
        ("objectives=[beauty]", ["objectives", "beauty", "runtime_ratio"]),
        ("objectives=[params,flops,score,runtime_ms,psnr_db]", ["objectives", "one to four"]),
        ("limits.params=-1", ["limits.params", "above 0"]),
        ("trials=0", ["trials", "at least 1"]),
        ("device=tpu", ["device", "tpu"]),
        ("data=folder", ["data.train"]),
        ("replay=nowhere", ["nowhere", "no run"]),
        ("proxy.steps=0", ["steps", "at least 1"]),
        ("inherit=true evaluator=table", ["inherit", "evaluator=table"]),
        ("inherit=true parent=runs/a:knee", ["inherit", "parent=runs/a:knee"]),
    ],
)
def test_a_wrong_value_is_named(refused, argument, words):
    line = refused(*argument.split(" "))
    for word in words:
        assert word in line


def test_a_missing_folder_is_named(refused, photos):
    assert "nowhere" in refused(
        "data=folder", f"data.train={photos}/nowhere", f"data.val={photos}/val"
    )


def test_an_empty_folder_is_named(refused, photos):
    (photos / "empty").mkdir()
    line = refused("data=folder", f"data.train={photos}/empty", f"data.val={photos}/val")
    assert "empty" in line


@pytest.mark.parametrize("content", [b"this is no picture", b""])
def test_a_file_that_is_no_picture_is_named(refused, photos, content):
    (photos / "train" / "broken.png").write_bytes(content)
    line = refused("data=folder", f"data.train={photos}/train", f"data.val={photos}/val")
    assert "broken.png" in line
    assert "data.on_error=skip" in line


def test_a_truncated_picture_is_named(refused, photos):
    path = photos / "train" / "train0.png"
    path.write_bytes(path.read_bytes()[:2000])
    line = refused("data=folder", f"data.train={photos}/train", f"data.val={photos}/val")
    assert "train0.png" in line


def test_a_16_bit_picture_is_named(refused, photos):
    Image.fromarray(np.full((128, 128), 40000, dtype=np.uint16)).save(photos / "train" / "deep.png")
    line = refused("data=folder", f"data.train={photos}/train", f"data.val={photos}/val")
    assert "deep.png" in line
    assert "16" in line


def test_photographs_below_the_patch_are_refused_with_the_way_out(refused, photos):
    Image.fromarray(np.zeros((48, 60, 3), dtype=np.uint8)).save(photos / "train" / "small.png")
    line = refused(
        "data=folder", f"data.train={photos}/train", f"data.val={photos}/val", "run=mine"
    )
    assert "1 of 3 training images have LR sides below proxy.patch=16: small.png (12x15)" in line
    assert "use proxy.patch=12, or leave them out with data.on_error=skip" in line


def test_judged_photographs_within_the_border_are_refused_with_their_size(refused, photos):
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(photos / "val" / "tiny.png")
    line = refused("data=folder", f"data.train={photos}/train", f"data.val={photos}/val")
    assert "tiny.png: 8x8 (height x width) leaves no pixel inside the border of 4" in line


def test_lr_that_names_no_role_is_refused(refused, photos):
    assert "data.lr goes with a folder of HR images" in refused(f"data.lr={photos}/train")
    folders = [f"data.{role}={photos}/{role}" for role in ("train", "val")]
    line = refused("data=folder", *folders, f"data.test={photos}/val", f"data.lr={photos}/val")
    assert "data.lr names 1 folder(s), data.val and data.test 2" in line


def test_the_way_out_works_for_the_same_run_and_its_page_says_how_lr_was_made(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name, side in (("train/HR/a", 48), ("train/HR/b", 64), ("val/HR/c", 64)):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        picture = coarse.resize((side, side), Image.Resampling.BICUBIC)
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
        if name == "val/HR/c":
            (tmp_path / "val/LR").mkdir()
            picture.resize((16, 16), Image.Resampling.BICUBIC).save(tmp_path / "val/LR/c.png")
    run, brief = (
        tmp_path / "run",
        "trials=1 proxy.steps=2 ladder_seeds=1 latency.max_seconds=0.2 workers=1",
    )
    command = ["search", "data=folder", f"run={run}", *brief.split()]
    command += [f"data.{role}={tmp_path}/{role}" for role in ("train", "val")]
    assert main(command) == 2
    assert "use proxy.patch=12" in capsys.readouterr().err
    assert not run.exists()
    assert main([*command, "proxy.patch=12", "proxy.batch_size=2"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "train: LR is made from HR, MATLAB bicubic. val: LR is not MATLAB bicubic: " in said
    assert "mean of the per-image dB. LR is not MATLAB bicubic: " in said
    assert main(["report", f"run={run}"]) == 0
    assert (run / "report.html").read_text().count("LR is not MATLAB bicubic: ") >= 2


def test_training_on_challenge_images_is_refused(refused, photos):
    (photos / "train" / "train0.png").rename(photos / "train" / "0801.png")
    line = refused("data=folder", f"data.train={photos}/train", f"data.val={photos}/val")
    assert "0801.png" in line
    assert "does not allow" in line
