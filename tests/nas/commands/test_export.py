import json
import shlex

import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from nas.cli.door import main
from nas.export.torch_export import TorchExportExporter
from nas.train.proxy import OverBase, bicubic_base
from nas.train.weights import load_upscaler
from search_spaces import ArchSpec, build, published


@pytest.fixture
def front(tiny_run):
    return pd.read_csv(tiny_run / "front.csv")


def test_an_exported_folder_loads_again_to_the_same_network(tiny_run, front, tmp_path, capsys):
    out = tmp_path / "exports" / "mine"
    assert (
        main(["export", f"run={tiny_run}", "pick=best_psnr", "formats=[safetensors]", f"out={out}"])
        == 0
    )
    row = front.sort_values("psnr_db").iloc[-1]
    printed = capsys.readouterr().out
    assert f"trial {row['number']} of tiny" in printed
    assert "has to be trained before it is used" in printed
    weights = out / "weights.safetensors"
    assert {path.name for path in out.iterdir()} == {
        weights.name, "arch.json", "card.md", "card.png"
    }  # fmt: skip
    with safe_open(weights, "pt") as file:
        assert file.metadata() == {"base": "bicubic", "arch": row["arch"]}

    written = json.loads((out / "arch.json").read_text())
    spec = ArchSpec.from_dict(written["spec"])
    assert spec.to_json() == row["arch"]
    assert (written["arch_id"], written["base"]) == (row["arch_id"], "bicubic")
    assert written["files"] == {"safetensors": [weights.name]}
    measured = written["provenance"]
    assert (measured["run"], measured["trial"]) == ("tiny", row["number"])
    assert (measured["psnr_db"], measured["params"]) == (row["psnr_db"], row["params"])
    assert measured["latency_mode"] == row["latency_mode"]
    assert measured["psnr_protocol"].startswith("RGB PSNR")
    assert "rounded to uint8" in measured["psnr_protocol"]

    kept = load_upscaler(spec, tiny_run / "weights" / f"{row['arch_id']}.safetensors")
    again = load_upscaler(spec, weights)
    assert isinstance(again, OverBase)
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(again(x), kept(x), rtol=0, atol=0)
    torch.testing.assert_close(again(x), again.net(x) + bicubic_base(x, 4), rtol=0, atol=0)


def test_what_is_exported_is_evaluated_like_its_run(tiny_run, pictures, front, tmp_path):
    out, table = tmp_path / "mine", tmp_path / "psnr.csv"
    row = front.iloc[0]
    assert main(["export", f"run={tiny_run}", f"pick={row['number']}", f"out={out}"]) == 0
    weights = out / "weights.safetensors"
    arguments = [f"arch={out / 'arch.json'}", f"weights={weights}", f"out={table}"]
    arguments += ["data=folder", f"data.val={pictures / 'val'}"]
    assert main(["evaluate", *arguments]) == 0
    assert pd.read_csv(table)["psnr_db"].mean() == pytest.approx(row["psnr_db"], abs=1e-3)


def test_without_out_it_lies_under_exports(tiny_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", f"run={tiny_run}", "pick=fastest"]) == 0
    folder = next((tmp_path / "exports").iterdir())
    assert folder.name.startswith("tiny_")
    assert folder.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in (tmp_path / "exports").iterdir()] == [
        folder.name
    ]  # no draft is left


def test_an_empty_folder_is_taken_and_a_full_one_refused(tiny_run, tmp_path, capsys):
    out = tmp_path / "mine"
    out.mkdir()
    assert main(["export", f"run={tiny_run}", f"out={out}"]) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert main(["export", f"run={tiny_run}", f"out={out}"]) == 2
    error = capsys.readouterr().err
    assert f"out={out} is not empty; name another folder, or empty it first" in error
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["pick=best"],
            "pick=best is not known; use best_score, knee, fastest, smallest, best_psnr or a trial",
        ),
        (["pick=99"], "pick=99: tiny has no trial 99; it has 0 to 2"),
        (["pick=-1"], "pick=-1 is not known"),
        (["pick=best_score"], "pick=best_score: the proxy of tiny cannot rank ("),
        (["pick=best_score"], "use pick=knee or a trial number"),
        (["formats=[onyx]"], "there is no formats 'onyx'; choose from "),
        (["formats=[]"], "formats names none; use formats=[safetensors]"),
        (["out=taken"], "out=taken is a file"),
        (["out=."], "out=. is the folder in which you are; name another"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments, message, tiny_run, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").touch()
    assert main(["export", f"run={tiny_run}", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_run_that_is_not_there_is_refused_and_not_made(tmp_path, capsys):
    assert main(["export", f"run={tmp_path / 'nowhere'}", f"out={tmp_path / 'out'}"]) == 2
    assert "there is no run in this directory" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_weights_that_were_not_kept_are_refused_by_the_trials_that_have_some(
    tiny_copy, front, tmp_path, capsys
):
    gone = front.iloc[0]
    (tiny_copy / "weights" / f"{gone['arch_id']}.safetensors").unlink()
    held = ", ".join(map(str, sorted(front["number"][1:])))
    out = tmp_path / "out"
    assert main(["export", f"run={tiny_copy}", f"pick={gone['number']}", f"out={out}"]) == 2
    error = capsys.readouterr().err
    assert f"pick={gone['number']}: trial {gone['number']} of tiny has no weights" in error
    assert (f"those of {held} are there" if held else "none are there") in error
    assert not out.exists()


@pytest.fixture
def span_weights(tmp_path):
    """Weights of a SPAN whose file tells its architecture by its names and shapes alone."""
    net = build(published("span"))
    torch.save(net.state_dict(), tmp_path / "span.pth")
    return net


def test_a_file_of_weights_leaves_with_and_without_its_architecture(
    span_weights, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "arch=published/span", "weights=span.pth", "out=a"]) == 0
    assert "These are weights of a whole network, from span.pth" in capsys.readouterr().out
    assert main(["export", "weights=span.pth", "out=b"]) == 0
    for folder in (tmp_path / "a", tmp_path / "b"):
        again = load_upscaler(published("span"), folder / "weights.safetensors")
        state = span_weights.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in again.state_dict().items())
        assert "nas export" in (folder / "card.md").read_text()
    # What was exported is exported again: arch.json and the weights are all that it needs.
    again = ["arch=a/arch.json", "weights=a/weights.safetensors", "out=c"]
    assert main(["export", *again]) == 0
    assert main(["export", "weights=a/weights.safetensors", "out=d"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "run, or arch and weights, has to be given"),
        (["run=x", "weights=span.pth"], "run names the network already"),
        (["run=x", "arch=published/span"], "run names the network already"),
        (["arch=published/span"], "weights has to be given for arch=published/span"),
        (["weights=own.pth"], "say what it is of: arch=published/NAME"),
        (["weights=nowhere.pth"], "there is no file nowhere.pth"),
        (["weights=span.pth", "pick=3"], "pick=3 belongs to run=RUN"),
        (["arch=published/rfdn_span", "weights=span.pth"], "weights: span.pth"),
        (["arch=published/span", "weights=nan.pth"], "fusion.bias holds infinite numbers or NaN"),
        (["arch=published/span", "weights=huge.pth"], "is not finite"),
        (["arch=published/span", "weights=code.pth"], "only running code from the file makes"),
    ],
)
def test_bad_weights_are_one_line_and_leave_nothing(
    arguments, message, span_weights, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    state = span_weights.state_dict()
    torch.save({"own": torch.zeros(3, 3)}, "own.pth")
    torch.save({**state, "fusion.bias": torch.full((28,), torch.nan)}, "nan.pth")
    torch.save({**state, "fusion.weight": torch.full((28, 112, 1, 1), 1e38)}, "huge.pth")
    torch.save(span_weights, "code.pth")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert main(["export", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_the_card_tells_numbers_origin_and_checks(tiny_run, front, tmp_path):
    out = tmp_path / "mine"
    row = front.iloc[0]
    assert main(["export", f"run={tiny_run}", f"pick={row['number']}", f"out={out}"]) == 0
    card = (out / "card.md").read_text()
    assert "**This is a draft.**" in card
    assert f"| parameters | {row['params']:,} |" in card
    assert f"| PSNR on val | {row['psnr_db']:.3f} dB | proxy, {row['fidelity']:,} steps |" in card
    assert str(row["device"]) in card
    assert f"nas export run={tiny_run} pick={row['number']} " in card
    assert "- proxy.steps: 3" in card
    assert "- data.val: " in card
    with Image.open(out / "card.png") as picture:
        assert picture.size == (4 * 256 + 3 * 4, 256 + 16)


def test_a_pick_leaves_as_drafts_that_are_checked(tiny_run, front, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    out = tmp_path / "mine"
    row = front.iloc[0]
    pick = [f"run={tiny_run}", f"pick={row['number']}", f"out={out}"]
    assert main(["export", *pick, "formats=[onnx,torch_export]"]) == 0
    files = json.loads((out / "arch.json").read_text())["files"]
    assert files["onnx"] == [f"{row['arch_id']}_draft.onnx"]
    assert files["torch_export"] == [f"{row['arch_id']}_draft.pt2"]
    checks = json.loads((out / "arch.json").read_text())["checks"]
    for name in ("onnx", "torch_export"):
        assert checks[name]["largest_error"] <= 1e-4
        assert checks[name]["latency_ms"] > 0
        assert f"| {name} | " in (out / "card.md").read_text()


def test_what_is_handed_in_leaves_by_a_relative_path(tmp_path, monkeypatch, capsys):
    """Readers run in a folder of their own, from which a relative path leads elsewhere."""
    monkeypatch.chdir(tmp_path)
    torch.save(build(published("span")).state_dict(), "span.pth")
    keys = ["arch=published/span", "weights=span.pth", "formats=[ntire]", "formats.ntire.team=5"]
    assert main(["export", *keys, "out=mine"]) == 0
    command = f"    nas export {shlex.join([*keys, 'out=mine'])}\n"
    assert command in (tmp_path / "mine" / "card.md").read_text()
    printed = capsys.readouterr().out
    for file in ("models/team05_SPAN.py", "model_zoo/team05_SPAN.pth", "select_model.txt"):
        assert f"written: mine/{file}\n" in printed
    assert json.loads((tmp_path / "mine" / "arch.json").read_text())["checks"]["ntire"]


def test_a_format_that_fails_its_check_is_the_machines_fault_and_leaves_nothing(
    tiny_run, tmp_path, monkeypatch, capsys
):
    def spoil(self, bundle, folder):
        (folder / "spoilt.pt2").write_bytes(b"no archive")
        return ["spoilt.pt2"]

    monkeypatch.setattr(TorchExportExporter, "write", spoil)
    out = tmp_path / "exports" / "mine"
    assert main(["export", f"run={tiny_run}", f"out={out}", "formats=[torch_export]"]) == 1
    error = capsys.readouterr().err
    assert "formats: the check of torch_export failed, the reader failed: " in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_scan_is_refused_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    net = build(published("mambagate"))
    torch.save(net.state_dict(), "mamba.pth")
    arguments = ["arch=published/mambagate", "weights=mamba.pth", "formats=[torch_export]"]
    assert main(["export", *arguments]) == 2
    assert "formats: torch_export: blocks.1.attention.mamba: Mamba scans" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mamba.pth"]
