import json
import math
import re
from pathlib import Path

import pytest
import torch
import yaml

from nas.cli.door import main
from nas.commands.architectures import resolve_arch
from nas.commands.profile_notes import FLAGS
from nas.measure.latency import meter, modes, stopwatch
from nas.measure.latency.flags import find_faults
from nas.measure.latency.rounds import Reading
from search_spaces import published
from tests.nas.measure.latency.clocks import by_params, on_the_cpu
from tests.nas.measure.networks import tiny


@pytest.fixture(autouse=True)
def known_clock(monkeypatch):
    def read(self, forward, repeats):
        return by_params(forward, repeats)

    monkeypatch.setattr(stopwatch.CpuStopwatch, "__call__", read)


def rows(capsys, *overrides):
    """Profile on the CPU and read the table: {name: the cells after it}, and the whole text."""
    assert main(["profile", "device=cpu", *overrides]) == 0
    text = capsys.readouterr().out
    lines = [line.split("  ") for line in text.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    return {line[0]: line[1:] for line in cells if len(line) > 1}, text


def test_profile_prints_the_published_counts_latency_and_score(capsys):
    found, text = rows(capsys, "arch=published/spanv2")
    assert found["parameters"] == ["139,104", "150,688", "0.923"]
    assert found["in training form"] == ["602,610", "634,048", "0.950"]
    assert found["FLOPs"] == ["9,107,931,136", "9,833,807,872", "0.926"]
    assert found["activations"] == ["51,380,224", "41,680,896", "1.233"]
    assert found["convolutions"] == ["22", "22", "1.000"]
    assert found["latency ms"] == ["139.104", "150.688", "0.923 ± 0.000"]
    fast, flops = math.exp(2 * 139_104 / 150_688), math.exp(2 * 9_107_931_136 / 9_833_807_872)
    assert found["score"] == [f"{0.9 * fast + 0.1 * flops:.3f}", "7.389"]
    assert "from CPU latency: compare only with scores from this machine" in text
    assert "mode cpu, float32, LR 64x64" in text


def test_every_flag_of_a_reading_has_its_words():
    reading = Reading(
        candidate_ms=1, baseline_ms=1, ratio=1.0, ci=1.0, ratio_low=1, ratio_high=1, rounds=1, rejected=9,
        idle=0, candidate_host_ms=0.5, baseline_host_ms=0.8,
    )  # fmt: skip
    found = find_faults(
        reading, drifted=True, contaminated=True, on_gpu=True, target_ci=0.01, lacks_graph=True
    )
    assert set(found) == set(FLAGS)


def test_the_baseline_scores_e_squared_and_its_ratio_is_one(capsys):
    found, _ = rows(capsys, "arch=published/span")
    assert found["latency ms"][2] == "1.000 ± 0.000"
    assert found["score"] == ["7.389", "7.389"]


def test_counts_alone_at_another_size_with_layers(capsys):
    found, text = rows(
        capsys, "arch=published/span", "measure=false", "size=[32,48]", "layers=true"
    )
    assert found["FLOPs"][0] == f"{9_833_807_872 * 32 * 48 // 256**2:,d}"
    assert found["upsampler.conv"][:4] == ["Conv2d", "1x48x32x48", "12,144", "18,579,456"]
    assert "The challenge counts at 256x256" in text
    assert "latency" not in found
    assert "score" not in found


def test_the_baseline_takes_the_scale_of_the_network(capsys, tmp_path):
    (tmp_path / "tiny.json").write_text(tiny(2).to_json())
    found, _ = rows(capsys, f"arch={tmp_path / 'tiny.json'}", "measure=false")
    assert found["parameters"][1] == "141,580"  # SPAN x2


def test_layers_are_timed_beside_the_whole_network(capsys):
    """The clock says 150.688 ms for SPAN and 10 ms for whatever is no network."""
    found, text = rows(capsys, "arch=published/span", "layers=true")
    assert found["upsampler.conv"][-2:] == ["10.000", "6.6% ± 0.0%"]
    num_layers = sum(cells[-1] == "6.6% ± 0.0%" for cells in found.values())
    assert num_layers == 22 + 6  # convolutions, and the attentions, which have no parameters
    assert (
        f"The layers add up to {10 * num_layers:.3f} ms, the whole network takes 150.688 ms" in text
    )


def test_layers_that_read_no_features_are_timed_too(capsys):
    """HAESR's biases of attention read parameters alone."""
    found, _ = rows(capsys, "arch=published/haesr", "layers=true", "latency.sizes=[[16,16]]")
    biases = [
        cells for name, cells in found.items() if name.endswith("bias") and cells[-2] == "10.000"
    ]
    assert len(biases) == 6


def test_every_mode_of_the_machine_is_shown_and_the_first_feeds_the_score(capsys, monkeypatch):
    monkeypatch.setattr(
        modes, "MODES", {"challenge": on_the_cpu(modes.MODES["challenge"]), **modes.MODES}
    )
    monkeypatch.setitem(modes.MODES, "challenge", on_the_cpu(modes.MODES["challenge"]))
    monkeypatch.setattr(meter, "MODES", modes.MODES)
    found, text = rows(capsys, "arch=published/spanv2", "latency.sizes=[[8,8]]")
    assert (
        found["latency challenge ms"]
        == found["latency cpu ms"]
        == ["139.104", "150.688", "0.923 ± 0.000"]
    )
    assert "Fused operators ran: conv_act, span_attention." in text
    assert "GPU latency (mode challenge, float32)" in text


def test_the_first_image_stands_beside_the_ratio_with_it(capsys):
    found, text = rows(capsys, "arch=published/spanv2")
    assert found["first image"] == ["139.104", "150.688", "0.923 with it"]
    assert "the ratio of a set of 100 images with it" in text


def test_several_networks_are_a_row_each(capsys):
    found, text = rows(capsys, "arch=[published/spanv2,published/span]", "latency.sizes=[[8,8]]")
    assert text.index("timing 2 networks in turn with published/span") < text.index("network ")
    assert found["published/spanv2"][0] == "139,104"
    assert found["published/spanv2"][4:6] == ["139.10", "0.923 ± 0.000"]  # read as its parameters
    assert found["published/span"][1:4] == ["9.834", "41.68", "64.32"]
    assert found["published/span"][4:] == [
        "150.69",
        "1.000 ± 0.000",
        "7.389",
        "7.74",
        "9.83",
        "27.01",
    ]
    assert "Report: the table of results of NTIRE 2026 Efficient SR as printed" in text
    assert "2 networks  x4" in text


def test_of_another_size_the_reports_flops_stand_beside_none(capsys):
    found, _ = rows(
        capsys, "arch=[published/spanv2,published/span]", "size=[16,16]", "measure=false"
    )
    assert found["published/span"][-2:] == ["7.74", "27.01"]
    assert (
        main(["profile", "arch=[published/span,published/hfenet]", "size=[8,16]", "measure=false"])
        == 2
    )
    assert (
        "size=[8,16], published/hfenet: hfeb: an image of 8x16 pixels is too small"
        in capsys.readouterr().err
    )


def test_what_the_report_says_stands_beside_the_counts(capsys):
    found, _ = rows(capsys, "arch=published/vscinet", "measure=false")
    assert found["report: GFLOPs"] == ["3.30", "9.83"]
    assert found["report: M parameters"] == ["0.051", "0.151"]


def test_the_architecture_of_the_guide_is_a_file_like_any_other(tmp_path, capsys):
    guide = Path(__file__).parents[3] / "docs" / "howto" / "network.md"
    block = re.search(r"```yaml\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "net.yaml").write_text(block[1], encoding="utf-8")
    told, _ = rows(capsys, f"arch={tmp_path / 'net.yaml'}", "measure=false")
    assert told["convolutions"][0] == "15"


def test_a_network_that_cannot_be_read_is_named(capsys, monkeypatch):
    def run_out(self, forward, repeats):
        if forward.spec == published("spanv2"):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return by_params(forward, repeats)

    monkeypatch.setattr(stopwatch.CpuStopwatch, "__call__", run_out)
    assert main(["profile", "device=cpu", "arch=published/spanv2"]) == 2
    name = published("spanv2").arch_id
    assert (
        f"latency of {name}: out of memory: {name} does not fit on cpu at 64x64"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("name", ["spec.json", "spec.yaml", "network.yaml"])
def test_files_hold_a_spec_by_itself_or_under_spec(tmp_path, name):
    spec = published("spanv2").to_dict()
    data = {"paper": "x", "spec": spec} if name == "network.yaml" else spec
    (tmp_path / name).write_text(
        json.dumps(data) if name.endswith("json") else yaml.safe_dump(data)
    )
    assert resolve_arch(str(tmp_path / name)) == published("spanv2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "a mapping of fields is needed, got list"),
        ("a: [", "is no YAML or JSON"),
        ("scale: 4", "architecture: blocks, .* missing"),
        (
            json.dumps(tiny().to_dict() | {"fusion": {"kind": "resnet"}}),
            "block kind 'resnet' is not known",
        ),
        (json.dumps(tiny().to_dict() | {"scale": 5}), "scale must be one of"),
    ],
)
def test_files_that_hold_no_network_are_refused_by_name(tmp_path, capsys, text, message):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        resolve_arch(str(tmp_path / "x.yaml"))
    assert main(["profile", f"arch={tmp_path / 'x.yaml'}"]) == 2
    assert capsys.readouterr().err.startswith(f"nas profile: arch={tmp_path / 'x.yaml'}: ")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "arch has to be given"),
        (
            ["arch=published/spam"],
            "arch=published/spam: published network 'spam' is not known; did you mean",
        ),
        (["arch=nowhere.yaml"], "arch=nowhere.yaml: there is no such file; use published/NAME"),
        (
            ["arch=published/span", "baseline=published/x"],
            "baseline=published/x: published network 'x'",
        ),
        (["arch=published/span", "size=[0,64]"], "size must be at least [1,1], got [0,64]"),
        (["arch=published/span", "size=[64]"], "size: expected 2 items, got 1"),
        (
            ["arch=published/span", "device=gpu"],
            "device=gpu is not known; use auto, cpu, cuda or cuda:N",
        ),
        (["arch=published/span", "latency.threads=0"], "latency: threads must be at least 1"),
        (
            ["arch=published/span", "latency.mode=fast"],
            "latency: mode 'fast' is not known; use auto, challenge",
        ),
        (["arch=[]"], "arch must name networks of one scale, got none"),
        (
            ["arch=[published/span,published/spam]"],
            "arch=published/spam: published network 'spam' is not",
        ),
    ],
)
def test_bad_input_ends_in_one_line(capsys, overrides, message):
    assert main(["profile", *overrides]) == 2
    captured = capsys.readouterr().err
    assert captured.startswith("nas profile: ")
    assert captured.count("\n") == 1
    assert message in captured
