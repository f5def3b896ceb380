import json
import subprocess

import pytest
import torch

from nas.measure import device
from nas.measure.device import device_id, device_name, fingerprint, git_commit, pick_device

CPU = torch.device("cpu")


def test_fingerprint_is_json_and_names_versions():
    found = json.loads(json.dumps(fingerprint(CPU), allow_nan=False))
    assert found["device"] == device_name(CPU) != ""
    assert found["versions"]["torch"] == torch.__version__
    assert set(found["versions"]) == {"esr-nas", "torch", "triton", "numpy", "optuna"}
    assert found["python"].startswith("3.")
    assert device_id(CPU) == "cpu"


def test_a_gpus_driver_and_clocks_are_read(monkeypatch):
    monkeypatch.setattr(device, "device_id", lambda _: "GPU-1")
    line = "580.65.06, 1980 MHz, 3201 MHz, 1980 MHz, 3201 MHz, 700.00 W, 32, Default"
    monkeypatch.setattr(device, "output", lambda command: line)
    found = device._query_gpu(torch.device("cuda", 0))
    assert found["driver"] == "580.65.06"
    assert found["gpu"]["uuid"] == "GPU-1"
    assert found["gpu"]["clocks.sm"] == "1980 MHz"
    monkeypatch.setattr(device, "output", lambda command: None)
    assert device._query_gpu(torch.device("cuda", 0)) == {"gpu": {"uuid": "GPU-1"}}


def test_git_commit_says_when_files_differ(tmp_path):
    assert git_commit(tmp_path) is None

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True
        )

    git("init")
    git("commit", "--allow-empty", "-m", "first")
    commit = git_commit(tmp_path)
    assert commit is not None
    assert len(commit) == 40
    (tmp_path / "file").write_text("x")
    assert git_commit(tmp_path) == f"{commit}-dirty"


@pytest.mark.parametrize("text", ["", "gpu", "cuda:", "cuda:x", "tpu:0"])
def test_an_unknown_device_is_refused(text):
    with pytest.raises(ValueError, match="use auto, cpu, cuda or cuda:N"):
        pick_device(text)


def test_devices_by_word(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == CPU
    with pytest.raises(ValueError, match=r"device=cuda: torch .*; use device=auto or device=cpu"):
        pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("auto") == pick_device("cuda") == torch.device("cuda", 0)
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ValueError, match="there are 2 GPUs, numbered from 0"):
        pick_device("cuda:2")
