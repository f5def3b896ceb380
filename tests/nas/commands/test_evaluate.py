# ruff: noqa: E501 - one case a line, with its whole message
import csv
import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from nas.cli.door import main
from nas.commands.evaluation.rows import evaluate_set
from nas.data.roles import open_roles
from nas.train.weights import load_upscaler
from search_spaces import build, published
from tests.nas.data.pictures import config, picture, write
from tests.search_spaces.span_files import merged, span_state

SHARED = Path(__file__).parents[4] / "shared"
CHECKPOINTS = SHARED / "reference" / "checkpoints"
RELEASED = {
    "span": ("team00_SPAN.pth", "team00_SPAN"),
    "spanf": ("y2025_team24_spanf.pth", "y2025_team24_SPANF"),
    "spanv2": ("team22_spanv2_c2.pth", "team22_SPANV2"),
    "amcanet": ("team17_AMCANet.pth", "team17_AMCANet"),
    "pds": ("team01_PDS.pth", "team01_PDS"),
    "rfdn_span": ("team09_RFDN_SPAN.pth", "team09_RFDN_SPAN"),
    "dscf_fused": ("team15_DSCF_Fused.pth", "team15_DSCF_Fused"),
    "zenosr": ("team04_ZenoSR.pth", "team04_ZenoSR"),
}
needs_shared = pytest.mark.skipif(
    not CHECKPOINTS.exists(), reason="../shared/reference is not here"
)
CPU = torch.device("cpu")


class Custom:
    """What a checkpoint can hold that only running its code makes."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two small images, and weights of a SPAN that was not trained."""
    root = tmp_path_factory.mktemp("evaluate")
    for seed, name in enumerate("ab"):
        write(root / "images" / f"{name}.png", picture(seed))
    torch.manual_seed(0)
    net = build(published("span"))
    save_file(net.state_dict(), root / "span.safetensors")
    torch.save({"params": net.state_dict()}, root / "span.pth")
    return root


def reference(name, images):
    return json.loads((SHARED / "reference" / "psnr.json").read_text())["psnr"][RELEASED[name][1]][
        images
    ]


def command(folder, *arguments):
    return ["evaluate", "data=folder", f"data.test={folder / 'images'}", "device=cpu", *arguments]


@needs_shared
def test_released_span_has_its_published_psnr_on_set5(tmp_path, capsys):
    weights = CHECKPOINTS / RELEASED["span"][0]
    images, out = SHARED / "data" / "Set5", tmp_path / "out.csv"
    assert (
        main(
            [
                "evaluate",
                "arch=published/span",
                f"weights={weights}",
                "data=folder",
                f"data.test={images}",
                f"out={out}",
            ]
        )
        == 0
    )
    with out.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    expected = reference("span", "Set5")
    assert [row["image"] for row in rows] == [f"set5_00{i}" for i in range(1, 6)]
    assert [float(row["psnr_db"]) for row in rows] == pytest.approx(expected["per_image"], abs=1e-3)
    assert all(float(row["psnr_y_db"]) > float(row["psnr_db"]) + 1 for row in rows)
    printed = capsys.readouterr().out
    mean = next(line.split() for line in printed.splitlines() if line.split()[:1] == ["mean"])
    assert float(mean[1]) == pytest.approx(expected["mean"], abs=1e-3)
    assert (
        "RGB PSNR: output clamped, rounded to uint8, a border of `scale` pixels dropped" in printed
    )
    assert "BT.601" in printed


@needs_shared
@pytest.mark.parametrize(("name", "data", "places"), [
    ("spanf", "Set5", range(5)), ("spanv2", "Set5", range(5)), ("span", "Set14", (4, 11)), ("spanv2", "Set14", (4,)),
    ("amcanet", "Set5", (1, 2)), ("pds", "Set5", (1, 2)), ("rfdn_span", "Set5", (1, 2)), ("dscf_fused", "Set5", (1, 2)),
    ("zenosr", "Set5", (1, 2)), ("zenosr", "Set14", (4,)),
])  # fmt: skip
def test_released_networks_have_their_published_psnr(name, data, places):
    images = open_roles(config(test=SHARED / "data" / data), scale=4, roles=("test",)).need("test")
    images = dataclasses.replace(images, pairs=tuple(images.pairs[i] for i in places))
    rows, problems = evaluate_set(
        load_upscaler(published(name), CHECKPOINTS / RELEASED[name][0]), images, CPU
    )
    expected = [reference(name, data)["per_image"][i] for i in places]
    assert [row.psnr_db for row in rows] == pytest.approx(expected, abs=1e-3)
    assert problems == []


def test_our_own_names_and_both_file_kinds_load_the_same(folder):
    one, other = (
        load_upscaler(published("span"), folder / name) for name in ("span.safetensors", "span.pth")
    )
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(one(x), other(x), rtol=0, atol=0)


def test_span_with_training_branches_alone_is_evaluated_as_merged(folder, tmp_path, capsys):
    state = span_state()
    convs = sorted({key.removesuffix(".sk.weight") for key in state if key.endswith(".sk.weight")})
    plain = {key: value for key, value in state.items() if not key.startswith(tuple(convs))}
    for conv in convs:
        plain[f"{conv}.eval_conv.weight"], plain[f"{conv}.eval_conv.bias"] = merged(state, conv)
    found = []
    for name, content in (("branches", {"params_ema": state}), ("merged", plain)):
        torch.save(content, tmp_path / f"{name}.pth")
        weights, out = tmp_path / f"{name}.pth", tmp_path / f"{name}.csv"
        assert main(command(folder, "arch=published/span", f"weights={weights}", f"out={out}")) == 0
        found.append(pd.read_csv(out)["psnr_db"])
    assert found[0].to_list() == pytest.approx(found[1].to_list(), abs=1e-3)
    assert "mean" in capsys.readouterr().out


def test_the_file_tells_the_architecture_and_averages_are_read(folder, tmp_path, capsys):
    ema = span_state(channels=12, num_blocks=4, norm=False)
    raw = {key: torch.zeros_like(value) for key, value in ema.items()}
    torch.save({"model": raw, "ema": {"module": ema}, "epoch": 3}, tmp_path / "x.pth")
    found = {}
    for entry in ("", ":ema", ":model"):
        out = tmp_path / "out.csv"
        assert main(command(folder, f"weights={tmp_path / 'x.pth'}{entry}", f"out={out}")) == 0
        printed = capsys.readouterr().out
        assert f"entry {entry[1:] or 'ema'} of {tmp_path / 'x.pth'}" in printed
        assert "recognised: a relative of published/span, 4× spab 12 ch" in printed
        assert "passed over: " + ("ema" if entry == ":model" else "model") in printed
        found[entry] = pd.read_csv(out)["psnr_db"].to_list()
    assert found[""] == found[":ema"] != found[":model"]


def test_our_own_file_says_its_architecture(folder, tmp_path, capsys):
    torch.manual_seed(0)
    spec = dataclasses.replace(published("span"), taps=("block7",))
    path = tmp_path / "own.safetensors"
    save_file(build(spec).state_dict(), path, metadata={"arch": spec.to_json()})
    assert main(command(folder, f"weights={path}")) == 0
    assert f"x4, {spec.arch_id}, weights {path}" in capsys.readouterr().out


CASES = [  # arguments below ../shared/cases, and the right value on s1_ceil_LR/floor
    ("arch={}/e1_span_other_width_x2/arch.yaml weights={}/e1_span_other_width_x2/spanx2_other_width.pth", 5.8090),
    ("weights={}/e1_span_other_width_x2/spanx2_other_width.pth", 5.8090),
    ("arch={}/e3_span_four_blocks_merged/arch.yaml weights={}/e3_span_four_blocks_merged/span_b4.pth", 6.0650),
    ("weights={}/e3_span_four_blocks_merged/span_b4.pth", 6.0650),
    *((f"arch=published/span weights={{}}/f1_wrappers/{name}", 5.9509) for name in (
        "half.pth", "module_metadata.safetensors", "netG_prefix.pth", "numpy_scalar_beside.pth", "params-ema.pth")),
    ("weights={}/f3_averaged_beside_raw/model_and_ema.pth", 5.9509),
    ("weights={}/f3_averaged_beside_raw/model_and_ema.pth:model", 5.5162),
]  # fmt: skip


@pytest.mark.skipif(not (SHARED / "cases").is_dir(), reason="../shared/cases is not here")
@pytest.mark.parametrize(("arguments", "expected"), CASES)
def test_checkpoints_as_people_have_them_have_their_right_psnr(arguments, expected, tmp_path):
    cases, out = SHARED / "cases", tmp_path / "out.csv"
    images = [
        f"data.test={cases / 's1_ceil_LR' / 'floor'}",
        "data=folder",
        "device=cpu",
        f"out={out}",
    ]
    assert main(["evaluate", *arguments.replace("{}", str(cases)).split(), *images]) == 0
    assert pd.read_csv(out)["psnr_db"].mean() == pytest.approx(expected, abs=1e-3)


def test_a_pick_of_a_run_is_evaluated_with_the_weights_and_the_base_of_the_run(
    tiny_run, pictures, tmp_path, capsys
):
    """On the val set it has the PSNR that the run's table says."""
    row = pd.read_csv(tiny_run / "front.csv").iloc[0]
    out = tmp_path / "out.csv"
    images = ["data=folder", f"data.val={pictures / 'val'}"]
    assert main(["evaluate", f"arch={tiny_run}:{row['number']}", *images, f"out={out}"]) == 0
    assert pd.read_csv(out)["psnr_db"].mean() == pytest.approx(row["psnr_db"], abs=1e-3)
    assert "with its bicubic base added" in capsys.readouterr().out


def test_select_images_serve_where_no_report_ones_are_given(folder, capsys):
    arguments = ["evaluate", "arch=published/span", f"weights={folder / 'span.pth'}", "data=folder"]
    assert main([*arguments, f"data.val={folder / 'images'}"]) == 0
    assert "data.val, 2 images" in capsys.readouterr().out
    assert main(arguments) == 2
    assert "no images are named" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "message"), [
    (["arch=published/span"], "weights has to be given for arch=published/span: weights=FILE"),
    ([], "weights has to be given: weights=FILE, .safetensors or .pth, or arch=RUN:PICK"),
    (["weights=twice.pth"], "weights: twice.pth holds 2 entries that fit: net_g, net_g_2; name one: weights=FILE:net_g or weights=FILE:net_g_2"),
    (["weights=span.pth:ema"], "weights: span.pth holds no entry 'ema'; its entries: params"),
    (["weights=unknown.pth"], "weights: unknown.pth is not recognised, its names and shapes are of no published network"),
    (["arch=published/spam", "weights=span.pth"], "arch=published/spam: published network 'spam' is not known; did you mean 'span'?"),
    (["arch=published/span", "weights=nowhere.pth"], "weights: there is no file nowhere.pth"),
    (["arch=published/span", "weights=images/a.png"], "images/a.png is refused"),
    (["arch=published/spanv2", "weights=span.pth"], "does not fit the network: missing blocks.2.attention.conv.weight;"),
    (["arch=published/span", "weights=shape.safetensors"], "fusion.weight has shape (28, 56, 1, 1) instead of (28, 112, 1, 1)"),
    (["arch=published/span", "weights=part.pth"], "weights: part.pth does not fit the network: missing block_2.c1_r.conv.1.bias\n"),
    (["arch=published/span", "weights=no_norm.pth"], "weights: no_norm.pth does not fit the network: unexpected no_norm (trained on the image itself"),
    (["arch=published/span", "weights=custom.pth"], "weights: custom.pth is refused, it holds more than tensors: tests.nas.commands.test_evaluate.Custom, which only running code"),
    (["arch=published/span", "weights=cut.safetensors"], "weights: cut.safetensors is refused"),
    (["arch=published/span", "weights=cut.pth"], "weights: cut.pth is refused"),
    (["arch=published/span", "weights=other.safetensors"], "belongs to the architecture"),
    (["arch=published/span", "weights=base.safetensors"], "base=nearest, which is not known; known: bicubic"),
    (["arch=published/span", "weights=nan.safetensors"], "fusion.bias holds infinite numbers or NaN"),
    (["arch=published/span", "weights=huge.safetensors"], "output for a is not finite"),
    (["arch=published/span", "weights=span.pth", "out=no/x.csv"], "out=no/x.csv: there is no folder no"),
    (["arch=published/span", "weights=span.pth", "out=images"], "out=images: is a folder"),
    (["arch=published/span", "weights=span.pth", "device=tpu"], "device=tpu is not known; use auto, cpu"),
    (["arch=nowhere:knee"], "arch=nowhere:knee: run=nowhere: there is no run in this directory"),
])  # fmt: skip
def test_bad_input_is_one_line(arguments, message, folder, tmp_path, monkeypatch, capsys):
    work = shutil.copytree(folder, tmp_path / "work")
    monkeypatch.chdir(work)
    span = load_file("span.safetensors")
    save_file({**span, "fusion.weight": torch.zeros(28, 56, 1, 1)}, "shape.safetensors")
    save_file(span, "other.safetensors", metadata={"arch": published("spanf").to_json()})
    save_file(span, "base.safetensors", metadata={"base": "nearest"})
    save_file({**span, "fusion.bias": torch.full((28,), torch.nan)}, "nan.safetensors")
    huge = {
        "fusion.bias": torch.full((28,), 3e38),
        "upsampler.conv.weight": torch.ones(48, 28, 3, 3),
    }
    save_file({**span, **huge}, "huge.safetensors")
    torch.save({"params": span, "config": Custom()}, "custom.pth")
    torch.save({"net_g": span, "net_g_2": {**span, "fusion.bias": torch.ones(28)}}, "twice.pth")
    torch.save({"a.weight": torch.ones(3, 3)}, "unknown.pth")
    branches = span_state()
    torch.save({"params": {**branches, "no_norm": torch.zeros(1)}}, "no_norm.pth")
    del branches["block_2.c1_r.conv.1.bias"]
    torch.save({"params": branches}, "part.pth")
    for name in ("span.safetensors", "span.pth"):
        data = Path(name).read_bytes()
        Path(name.replace("span", "cut")).write_bytes(data[: len(data) // 2])
    before = sorted(work.rglob("*"))
    assert main(command(work, *arguments)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(work.rglob("*")) == before


def test_a_pick_without_weights_names_those_that_are_there(tiny_copy, capsys):
    front = pd.read_csv(tiny_copy / "front.csv")
    for path in (tiny_copy / "weights").iterdir():
        path.unlink()
    assert main(["evaluate", f"arch={tiny_copy}:{front['number'][0]}"]) == 2
    error = capsys.readouterr().err
    assert f"trial {front['number'][0]} of tiny has no weights" in error
    assert "none are there" in error
    assert error.count("\n") == 1


def test_an_image_that_breaks_while_it_is_read_is_skipped_where_the_data_say_so(folder, tmp_path):
    root = shutil.copytree(folder, tmp_path / "work")
    images = open_roles(
        config(test=root / "images", on_error="skip"), scale=4, roles=("test",)
    ).need("test")
    data = (root / "images" / "a.png").read_bytes()
    os.truncate(root / "images" / "a.png", len(data) // 2)
    upscaler = load_upscaler(published("span"), root / "span.pth")
    rows, problems = evaluate_set(upscaler, images, CPU)
    assert [row.image for row in rows] == ["b"]
    assert "a.png" in str(problems[0])
    with pytest.raises(ValueError, match=r"a\.png"):
        evaluate_set(upscaler, dataclasses.replace(images, on_error="stop"), CPU)


def test_origin_of_lr_stands_beside_psnr(folder, tmp_path, capsys):
    """An LR image by Pillow is used, and told; the same one is not where LR is made from HR."""
    images = [Image.open(folder / "images" / f"{name}.png") for name in "ab"]
    for name, image in zip("ab", images, strict=True):
        write(tmp_path / "set" / "GT" / f"{name}.png", np.asarray(image))
        small = image.resize((image.width // 4, image.height // 4), Image.Resampling.BICUBIC)
        write(tmp_path / "set" / "LRbicx4" / f"{name}.png", np.asarray(small))
    out = tmp_path / "out.csv"
    arguments = [
        "evaluate",
        "arch=published/span",
        f"weights={folder / 'span.pth'}",
        "device=cpu",
        f"out={out}",
    ]
    arguments += ["data=folder", f"data.test={tmp_path / 'set'}"]
    psnr = {}
    for lr, said in (
        ("null", "not MATLAB bicubic: "),
        ("none", "made from HR, MATLAB bicubic"),
        (tmp_path / "set" / "LRbicx4", "not MATLAB bicubic: "),
    ):
        assert main([*arguments, f"data.lr={lr}"]) == 0
        printed = " ".join(capsys.readouterr().out.split())
        assert f"LR is {said}" in printed
        assert ("are not used: data.lr=none" in printed) == (lr == "none")
        rows = pd.read_csv(out)
        assert rows["lr_origin"].str.startswith(said).all()
        psnr[str(lr)] = rows["psnr_db"].to_list()
    assert psnr["null"] == psnr[str(tmp_path / "set" / "LRbicx4")] != psnr["none"]


def test_images_within_the_border_are_refused_and_nothing_is_written(folder, tmp_path, capsys):
    write(tmp_path / "set" / "a.png", picture(0, 8, 9))
    arguments = [
        "evaluate",
        "arch=published/span",
        f"weights={folder / 'span.pth'}",
        "data=folder",
        "device=cpu",
    ]
    assert main([*arguments, f"data.test={tmp_path / 'set'}", f"out={tmp_path / 'out.csv'}"]) == 2
    assert (
        "a.png: 8x9 (height x width) leaves no pixel inside the border" in capsys.readouterr().err
    )
    assert not (tmp_path / "out.csv").exists()


@needs_shared
@pytest.mark.parametrize(("case", "expected"), [
    ("a3_HR_LR/set", [33.3819, 31.7046]),
    ("a3_HR_LR/set/HR", [33.3819, 31.7046]),
])  # fmt: skip
def test_cases_have_the_psnr_of_their_own_lr(case, expected):
    images = open_roles(config(test=SHARED / "cases" / case), scale=4, roles=("test",)).need("test")
    rows, _ = evaluate_set(
        load_upscaler(published("span"), CHECKPOINTS / RELEASED["span"][0]), images, CPU
    )
    assert [row.psnr_db for row in rows] == pytest.approx(expected, abs=1e-3)


@needs_shared
def test_case_of_hr_and_lr_in_one_folder_has_the_psnr_of_its_pairs():
    root = SHARED / "cases" / "c1_SRF_4_HR_LR_one_folder" / "Set5"
    images = open_roles(config(test=root), scale=4, roles=("test",)).need("test")
    rows, _ = evaluate_set(
        load_upscaler(published("span"), CHECKPOINTS / RELEASED["span"][0]), images, CPU
    )
    assert sum(row.psnr_db for row in rows) / 3 == pytest.approx(32.03, abs=0.005)
