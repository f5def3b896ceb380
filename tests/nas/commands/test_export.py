import json

import pandas as pd
import pytest
import torch
from safetensors import safe_open

from nas.cli.door import main
from nas.train.proxy import OverBase, bicubic_base
from nas.train.weights import load_upscaler
from search_spaces import ArchSpec


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
    weights = out / f"{row['arch_id']}.safetensors"
    assert {path.name for path in out.iterdir()} == {weights.name, "arch.json"}
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

    kept = load_upscaler(spec, tiny_run / "weights" / weights.name)
    again = load_upscaler(spec, weights)
    assert isinstance(again, OverBase)
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(again(x), kept(x), rtol=0, atol=0)
    torch.testing.assert_close(again(x), again.net(x) + bicubic_base(x, 4), rtol=0, atol=0)


def test_what_is_exported_is_evaluated_like_its_run(tiny_run, pictures, front, tmp_path):
    out, table = tmp_path / "mine", tmp_path / "psnr.csv"
    row = front.iloc[0]
    assert main(["export", f"run={tiny_run}", f"pick={row['number']}", f"out={out}"]) == 0
    weights = out / f"{row['arch_id']}.safetensors"
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
        (["formats=[onyx]"], "there is no formats 'onyx'; choose from ntire, safetensors"),
        (["formats=[]"], "formats names none; use formats=[safetensors]"),
        (["out=taken"], "out=taken is a file"),
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
