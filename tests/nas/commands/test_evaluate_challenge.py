"""What the challenge reports beside PSNR: runtimes, score, gates, its files and images."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from nas.cli.door import main
from nas.measure.cost import measure_cost
from nas.score import challenge_score
from search_spaces import build, published
from tests.nas.commands.test_evaluate import CHECKPOINTS, RELEASED, SHARED, needs_shared, reference
from tests.nas.data.pictures import picture, write

QUICK = ["latency.max_seconds=0.2", "latency.sizes=[[16,16]]", "latency.warmup_seconds=0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of both roles, one of a name twice, and weights of a SPANV2 that was not trained."""
    root = tmp_path_factory.mktemp("challenge")
    for seed, name in enumerate(("val/a.png", "val/b.png", "test/one/c.png", "test/two/c.png")):
        write(root / name, picture(seed, 40, 48))
    torch.manual_seed(0)
    spec = published("spanv2")
    state = build(spec).state_dict()
    save_file(state, root / "net.safetensors", metadata={"arch": spec.to_json()})
    return root


def evaluate(folder, *arguments):
    roles = [f"data.val={folder / 'val'}", f"data.test={folder / 'test'}"]
    weights = f"weights={folder / 'net.safetensors'}"
    return main(["evaluate", "data=folder", *roles, weights, "device=cpu", *QUICK, *arguments])


def test_files_hold_the_figures_of_both_sets(folder, tmp_path, capsys):
    names = [tmp_path / name for name in ("x.csv", "x.json", "results.txt")]
    assert evaluate(folder, f"out=[{','.join(map(str, names))}]") == 0
    report = json.loads(names[1].read_text())
    with names[0].open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["role"] for row in rows] == ["val", "val", "test", "test"]
    assert [row["image"] for row in rows][:2] == ["a", "b"]
    assert all(float(row["runtime_ms"]) > 0 for row in rows)

    # Counts, ratios and score are those of their own rooms.
    cost, base = measure_cost(published("spanv2")), measure_cost(published("span"))
    assert report["cost"]["params"] == cost.params
    ratios = (
        report["runtime_ratio"],
        cost.flops / base.flops,
        cost.params / base.params,
    )
    assert report["score"] == pytest.approx(challenge_score(*ratios))

    # Means and margins follow from the rows.
    for images, role in zip(report["sets"], ("val", "test"), strict=True):
        values = [float(row["psnr_db"]) for row in rows if row["role"] == role]
        mean = math.fsum(values) / len(values)
        assert images["mean"]["psnr_db"] == pytest.approx(mean)
        assert images["gates"]["valid"]["margin_db"] == pytest.approx(mean - 26.90)
        assert images["gates"]["test"]["margin_db"] == pytest.approx(mean - 26.99)
        times = [float(row["runtime_ms"]) for row in rows if row["role"] == role]
        assert images["first_ms"] == pytest.approx(times[0])
        assert images["runtime_ms"] == pytest.approx(np.mean(times[1:]))
        assert images["runtime_with_first_ms"] == pytest.approx(np.mean(times))

    # The challenge's columns, tabs between them, in its digits.
    heads, cells = (
        [cell.strip() for cell in line.split("\t")] for line in names[2].read_text().splitlines()
    )
    table = dict(zip(heads, cells, strict=True))
    val, test = (images["runtime_with_first_ms"] for images in report["sets"])
    assert heads[:3] == ["Model", "Val PSNR", "Test PSNR"]
    assert table["Val PSNR"] == f"{report['sets'][0]['mean']['psnr_db']:.2f}"
    assert table["Ave Time [ms]"] == f"{(val + test) / 2:.2f}"
    assert table["Params [M]"] == f"{cost.params / 1e6:.3f}"
    assert table["FLOPs [G]"] == f"{cost.flops / 1e9:.2f}"
    assert int(table["Conv"]) == cost.num_conv
    printed = capsys.readouterr().out
    assert "first image" in printed
    assert "dB to 26.9 (DIV2K_LSDIR_valid)" in printed
    assert "SSIM: 8-bit levels" in printed


def test_without_timing_there_is_no_runtime_and_no_score(folder, tmp_path, capsys):
    assert (
        evaluate(folder, "timing=false", f"out=[{tmp_path / 'x.json'},{tmp_path / 'x.txt'}]") == 0
    )
    report = json.loads((tmp_path / "x.json").read_text())
    assert report["score"] is None
    assert report["sets"][0]["runtime_ms"] is None
    assert report["sets"][0]["images"][0]["runtime_ms"] is None
    assert "\t-" in (tmp_path / "x.txt").read_text()
    assert "No score: it needs the runtime" in capsys.readouterr().out


def test_upscaled_images_are_those_of_which_the_psnr_is_told(folder, tmp_path):
    out, target = tmp_path / "x.csv", tmp_path / "sr"
    assert evaluate(folder, "timing=false", f"out={out}", f"sr_images={target}") == 0
    files = sorted(path.relative_to(target).as_posix() for path in target.rglob("*.png"))
    assert files == ["test/0001_c.png", "test/0002_c.png", "val/a.png", "val/b.png"]
    with out.open(newline="") as stream:
        psnr = float(next(csv.DictReader(stream))["psnr_db"])
    with Image.open(target / "val" / "a.png") as image, Image.open(folder / "val" / "a.png") as hr:
        error = (np.asarray(image).astype(float) - np.asarray(hr))[4:-4, 4:-4]
    assert 10 * np.log10(255**2 / np.square(error).mean()) == pytest.approx(psnr, abs=1e-9)


def test_a_score_of_the_baseline_is_e_squared(folder, tmp_path):
    baseline = "baseline=published/spanv2"
    assert evaluate(folder, baseline, f"out={tmp_path / 'x.json'}") == 0
    assert json.loads((tmp_path / "x.json").read_text())["score"] == pytest.approx(math.exp(2))


@pytest.mark.parametrize(("arguments", "message"), [
    (["sr_images=full"], "sr_images=full is not empty; name another folder"),
    (["sr_images=full/a.png"], "sr_images=full/a.png is a file"),
    (["out=[x.csv,no/x.json]"], "out=no/x.json: there is no folder no"),
    (["baseline=published/none"], "baseline=published/none: published network 'none' is not known"),
    (["timing=maybe"], "timing: expected true or false"),
])  # fmt: skip
def test_bad_input_is_one_line(arguments, message, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "full" / "a.png", picture(0, 16, 16))
    before = sorted(tmp_path.rglob("*"))
    assert evaluate(folder, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_an_evaluation_that_fails_leaves_no_images(folder, tmp_path, capsys):
    state = {
        name: torch.full_like(value, 1e30)
        for name, value in build(published("span")).state_dict().items()
    }
    save_file(state, tmp_path / "huge.safetensors")
    weights = [f"weights={tmp_path / 'huge.safetensors'}", "arch=published/span"]
    assert evaluate(folder, *weights, "timing=false", f"sr_images={tmp_path / 'sr'}") == 2
    assert "is not finite" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["huge.safetensors"]


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize("data", ["Set5", "Set14"])
@pytest.mark.parametrize("name", RELEASED)
def test_released_networks_equal_the_reference_on_every_image(name, data, tmp_path):
    out = tmp_path / "out.csv"
    arguments = [
        f"weights={CHECKPOINTS / RELEASED[name][0]}",
        f"data.test={SHARED / 'data' / data}",
    ]
    command = ["evaluate", f"arch=published/{name}", "data=folder", "timing=false", "device=cpu"]
    assert main([*command, *arguments, f"out={out}"]) == 0
    with out.open(newline="") as stream:
        found = [float(row["psnr_db"]) for row in csv.DictReader(stream)]
    assert found == pytest.approx(reference(name, data)["per_image"], abs=1e-3)
