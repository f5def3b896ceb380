"""nas upscale: files and folders, what is kept, and every refusal on one line."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from nas.cli.door import main
from nas.data.pixels.base import bicubic_base
from nas.train.weights import load_upscaler
from search_spaces import build, published
from tests.nas.data.pictures import picture, write

SHARED = Path(__file__).parents[4] / "shared"
SPAN = SHARED / "reference" / "checkpoints" / "team00_SPAN.pth"
needs_shared = pytest.mark.skipif(not SPAN.exists(), reason="../shared/reference is not here")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of a SPANV2 that was not trained; its file says what it is."""
    torch.manual_seed(0)
    spec = published("spanv2")
    path = tmp_path_factory.mktemp("weights") / "spanv2.safetensors"
    save_file(build(spec).state_dict(), path, metadata={"arch": spec.to_json()})
    return path


def upscale(weights, source, target, *more):
    return main(
        ["upscale", f"in={source}", f"out={target}", f"weights={weights}", "device=cpu", *more]
    )


def expected(weights, pixels):
    """Return (H, W, 3) in [0, 1] as the network alone gives it, of 8 bits."""
    net = load_upscaler(published("spanv2"), weights)
    x = torch.tensor(pixels).permute(2, 0, 1).unsqueeze(0).float() / 255
    with torch.inference_mode():
        return net(x)[0].clamp(0, 1).permute(1, 2, 0).numpy()


def decode(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_file_becomes_what_the_network_gives(weights, tmp_path, capsys):
    pixels = picture(0, 24, 31)
    write(tmp_path / "a.png", pixels)
    assert upscale(weights, tmp_path / "a.png", tmp_path / "big.png") == 0
    np.testing.assert_allclose(
        decode(tmp_path / "big.png"), (255 * expected(weights, pixels)).round(), atol=1
    )
    printed = capsys.readouterr().out
    assert "124x96 (width x height), RGB, 8 bits, whole" in printed
    assert "x4, " in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "big.png"]


def test_alpha_is_bicubic_and_grey_stays_grey(weights, tmp_path):
    pixels = picture(1, 20, 24)
    alpha = np.linspace(1, 255, 480).reshape(20, 24).astype(np.uint8)
    write(tmp_path / "in" / "rgba.png", np.dstack([pixels, alpha]))
    write(tmp_path / "in" / "grey.png", pixels[..., 0])
    assert upscale(weights, tmp_path / "in", tmp_path / "out") == 0
    written = decode(tmp_path / "out" / "rgba.png")
    np.testing.assert_allclose(written[..., :3], (255 * expected(weights, pixels)).round(), atol=1)
    smooth = bicubic_base(torch.from_numpy(alpha)[None, None].float(), 4)[0, 0].clamp(0, 255)
    np.testing.assert_allclose(written[..., 3], smooth.numpy().round(), atol=1)
    grey = decode(tmp_path / "out" / "grey.png")
    same = np.repeat(pixels[..., :1], 3, 2)
    luma = expected(weights, same) @ np.array([0.299, 0.587, 0.114])
    assert grey.shape == (80, 96)
    np.testing.assert_allclose(grey, (255 * luma).round(), atol=1)


def test_colours_that_nobody_sees_leave_no_rim(weights, tmp_path):
    """A red square on transparent black stays red up to its edge."""
    pixels = np.zeros((24, 24, 4), np.uint8)
    pixels[6:18, 6:18] = 200, 20, 20, 255
    plain = np.full((24, 24, 3), (200, 20, 20), np.uint8)
    write(tmp_path / "in" / "logo.png", pixels)
    write(tmp_path / "in" / "plain.png", plain)
    assert upscale(weights, tmp_path / "in", tmp_path / "out") == 0
    logo, red = (decode(tmp_path / "out" / f"{name}.png") for name in ("logo", "plain"))
    shown = logo[..., 3] > 0
    np.testing.assert_allclose(logo[..., :3][shown], red[shown], atol=1)


def test_sixteen_bits_come_out_as_sixteen(weights, tmp_path):
    """The result has levels that 8 bits do not have, and 8 bits of it are those of the 8-bit file."""
    pixels = picture(2, 20, 24)
    tifffile.imwrite(tmp_path / "deep.tif", pixels.astype(np.uint16) * 257, photometric="rgb")
    assert upscale(weights, tmp_path / "deep.tif", tmp_path / "big.tif") == 0
    deep = tifffile.imread(tmp_path / "big.tif")
    np.testing.assert_allclose(deep / 65535, expected(weights, pixels), atol=2e-5)
    assert (deep % 257 != 0).any()


def test_tiles_equal_the_whole(weights, tmp_path, capsys):
    tifffile.imwrite(
        tmp_path / "a.tif", picture(3, 70, 50).astype(np.uint16) * 257, photometric="rgb"
    )
    results = []
    for tile in (0, 32):
        target = tmp_path / f"{tile}.tif"
        assert upscale(weights, tmp_path / "a.tif", target, f"tile={tile}") == 0
        results.append(tifffile.imread(target).astype(float))
    assert np.abs(results[0] - results[1]).max() <= 1
    assert "6 tiles of 32 with an overlap of 16" in capsys.readouterr().out


def test_a_folder_goes_on_past_what_cannot_be_read(weights, tmp_path, capsys):
    for seed, name in enumerate(("a.png", "c.png")):
        write(tmp_path / "in" / name, picture(seed, 16, 16))
    (tmp_path / "in" / "b.png").write_bytes((tmp_path / "in" / "a.png").read_bytes()[:200])
    Image.new("CMYK", (8, 8)).save(tmp_path / "in" / "d.jpg")
    (tmp_path / "in" / "notes.txt").write_text("none")
    assert upscale(weights, tmp_path / "in", tmp_path / "out") == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert len(lines) == 3
    assert "b.png: cut or corrupt" in lines[0]
    assert "d.jpg: colour mode CMYK" in lines[1]
    assert lines[2] == "nas upscale: 2 of 4 images were not upscaled"
    assert "passed over, for their endings are no image's: 1 files" in printed.out


def test_a_folder_of_which_nothing_can_be_read_leaves_nothing(weights, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_text("no image")
    assert upscale(weights, tmp_path / "in", tmp_path / "out") == 1
    assert not (tmp_path / "out").exists()


def test_results_that_are_there_are_kept_skipped_or_replaced(weights, tmp_path, capsys):
    for name in ("a.png", "b.png"):
        write(tmp_path / "in" / name, picture(0, 16, 16))
    write(tmp_path / "out" / "a.png", picture(1, 8, 8))
    before = (tmp_path / "out" / "a.png").read_bytes()
    assert upscale(weights, tmp_path / "in", tmp_path / "out") == 2
    assert (
        "a.png is there already; name another place, or use existing=skip"
        in capsys.readouterr().err
    )
    assert upscale(weights, tmp_path / "in", tmp_path / "out", "existing=skip") == 0
    assert (tmp_path / "out" / "a.png").read_bytes() == before
    assert (tmp_path / "out" / "b.png").exists()
    assert upscale(weights, tmp_path / "in", tmp_path / "out", "existing=replace") == 0
    assert decode(tmp_path / "out" / "a.png").shape == (64, 64, 3)


def test_a_draft_is_upscaled_with_its_base(tiny_run, tmp_path, capsys):
    write(tmp_path / "a.png", picture(0, 16, 20))
    assert (
        main(
            [
                "upscale",
                f"in={tmp_path / 'a.png'}",
                f"out={tmp_path / 'b.png'}",
                f"arch={tiny_run}:knee",
            ]
        )
        == 0
    )
    assert "with its bicubic base added" in capsys.readouterr().out
    x = torch.tensor(picture(0, 16, 20)).permute(2, 0, 1).unsqueeze(0).float()
    smooth = bicubic_base(x, 4)[0].clamp(0, 255).permute(1, 2, 0).numpy()
    assert np.abs(decode(tmp_path / "b.png") - smooth).mean() < 10


@needs_shared
def test_released_span_has_its_psnr_on_a_photograph(tmp_path):
    """What is written is what the challenge evaluates: set5_003, 26.4177 dB."""
    lr = SHARED / "data" / "Set5" / "LR_bicubic" / "X4"
    source = next(path for path in sorted(lr.iterdir()) if "set5_003" in path.name)
    assert upscale(SPAN, source, tmp_path / "big.png") == 0
    hr = decode(SHARED / "data" / "Set5" / "HR" / "set5_003.png")[:256, :256].astype(float)
    error = (decode(tmp_path / "big.png").astype(float) - hr)[4:-4, 4:-4]
    assert 10 * np.log10(255**2 / np.square(error).mean()) == pytest.approx(26.4177, abs=1e-3)


@pytest.mark.parametrize(("arguments", "message"), [
    (["in=one.png"], "one.png: 1x1: a single pixel is no picture to upscale"),
    (["in=cut.png"], "cut.png: cut or corrupt"),
    (["in=cmyk.jpg"], "cmyk.jpg: colour mode CMYK is not handled; convert it to RGB"),
    (["in=empty"], "in=empty: there are no images in it, of .bmp, .jpeg, "),
    (["in=nowhere.png"], "in=nowhere.png: there is no such file or folder"),
    (["out=a.png"], "out=a.png is in=a.png: name another"),
    (["out=link.png"], "out=link.png is in=a.png: name another"),
    (["in=images", "out=images/../images"], "is in=images: name another"),
    (["in=images", "out=a.png"], "out=a.png is a file, and in=images a folder"),
    (["out=images"], "out=images: is a folder; name a picture in a folder that is there"),
    (["in=pipe"], "in=pipe is neither a file nor a folder"),
    (["in="], "in is empty; name an image file"),
    (["out="], "out is empty; name an image file"),
    (["out=no/b.png"], "out=no/b.png: there is no folder no"),
    (["out=b.gif"], "out=b.gif: .gif is no format that is written; use .png, .tif"),
    (["out=b"], "out=b: a name without an ending is no format"),
    (["out=taken.png"], "taken.png is there already"),
    (["in=alpha.png", "out=b.jpg"], "b.jpg: JPEG holds no transparency; write a .png"),
    (["tile=8"], "tile=8 is smaller than the overlap of 16 LR pixels"),
    (["tile=-1"], "tile=-1: a tile has at least one pixel"),
    (["tile=small"], 'tile: expected one of auto or a whole number, got "small"'),
    (["existing=keep"], "existing: expected one of refuse, skip, replace"),
    (["weights=null"], "weights has to be given: weights=FILE"),
    (["weights=nan.safetensors"], "holds infinite numbers or NaN"),
    (["weights=a.png"], "a.png is refused"),
    (["weights=none.pth"], "weights: there is no file none.pth"),
    (["arch=published/span"], "belongs to the architecture"),
])  # fmt: skip
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments, message, weights, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    write(Path("a.png"), picture(0, 16, 16))
    write(Path("images/x.png"), picture(0, 16, 16))
    shutil.copy("a.png", "taken.png")
    Path("link.png").symlink_to("a.png")
    Path("empty").mkdir()
    os.mkfifo("pipe")
    write(Path("one.png"), np.zeros((1, 1, 3), np.uint8))
    write(Path("alpha.png"), np.full((8, 8, 4), 9, np.uint8))
    Path("cut.png").write_bytes(Path("a.png").read_bytes()[:200])
    Image.new("CMYK", (8, 8)).save("cmyk.jpg")
    state = load_file(weights)
    save_file({**state, "fusion.bias": torch.full((32,), torch.nan)} if "fusion.bias" in state else
              {name: torch.full_like(value, torch.nan) for name, value in state.items()},
              "nan.safetensors", metadata={"arch": published("spanv2").to_json()})  # fmt: skip
    before = sorted(Path().rglob("*"))
    usual = ["in=a.png", "out=b.png", f"weights={weights}", "device=cpu"]
    assert main(["upscale", *usual, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(Path().rglob("*")) == before
