import sys

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
from benchmarks.export import agreement


def test_members_and_published_networks_are_compared(monkeypatch, capsys):
    names = ["published/mambagate", "esr_bench_mini", "--members", "1"]
    monkeypatch.setattr(sys, "argv", ["agreement.py", *names])
    agreement.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == agreement.HEAD
    assert "blocks.1.attention.mamba: Mamba scans" in lines[2]
    name, nodes, onnx, pt2, _ = (cell.strip() for cell in lines[3].strip("|").split("|"))
    assert name.startswith("esr_bench_mini: ")
    assert int(nodes) > 10
    assert float(onnx) <= 1e-4
    assert float(pt2) <= 1e-4
