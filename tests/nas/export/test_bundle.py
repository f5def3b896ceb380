import json

import pytest

from nas.export.bundle import Bundle, export
from nas.export.safetensors import SafetensorsExporter
from search_spaces import build, published


class OnnxLike:
    """A format that can hold whole networks alone."""

    takes_residuals = False
    tolerance = 0.0
    clamps = False

    def check(self, bundle):
        pass

    def reader(self, folder, names):
        return None

    def write(self, bundle, folder):
        (folder / "net.onnx").write_text("graph")
        return ["net.onnx"]


class Failing(OnnxLike):
    def write(self, bundle, folder):
        (folder / "half").touch()
        raise OSError(28, "no space left on device")


def bundle(base):
    spec = published("span")
    return Bundle(spec=spec, net=build(spec), base=base, provenance={"run": "x"})


def test_every_format_writes_its_files_into_one_folder(tmp_path):
    out = tmp_path / "out"
    files = export(bundle(None), {"onnx": OnnxLike(), "safetensors": SafetensorsExporter()}, out)
    name = "weights.safetensors"
    assert [path.name for path in files] == [
        "arch.json", "card.md", "card.png", "net.onnx", name
    ]  # fmt: skip
    written = json.loads((out / "arch.json").read_text())
    assert written["files"] == {"onnx": ["net.onnx"], "safetensors": [name]}
    assert "note" not in written  # it is trained


def test_proxy_weights_are_refused_by_formats_that_hold_whole_networks(tmp_path):
    with pytest.raises(
        ValueError, match=r"formats: onnx cannot hold proxy weights.*has to be trained first"
    ):
        export(
            bundle("bicubic"),
            {"safetensors": SafetensorsExporter(), "onnx": OnnxLike()},
            tmp_path / "out",
        )
    assert list(tmp_path.iterdir()) == []


def test_a_format_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="no space"):
        export(
            bundle(None), {"safetensors": SafetensorsExporter(), "bad": Failing()}, tmp_path / "out"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_refused_and_kept(tmp_path):
    (tmp_path / "precious.txt").write_text("x")
    with pytest.raises(ValueError, match="is not empty; name another folder"):
        export(bundle(None), {"safetensors": SafetensorsExporter()}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]
