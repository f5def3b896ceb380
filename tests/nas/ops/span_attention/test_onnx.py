"""Exported operators against ONNX Runtime."""

import warnings

import pytest
import torch
from torch import nn

from nas.ops.span_attention import parameter_free_attention, span_attention
from nas.ops.span_attention.onnx import translations

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(12, 12, 1)

    def forward(self, x, f):
        return parameter_free_attention(x, span_attention(x, f, self.conv.weight, self.conv.bias))


def test_exported_operators_equal_ours(tmp_path):
    torch.manual_seed(0)
    net, given = Both().eval(), (torch.randn(2, 12, 9, 7), torch.randn(2, 12, 9, 7))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", FutureWarning)  # torch.export speaks to itself
        warnings.simplefilter("ignore", DeprecationWarning)
        program = torch.onnx.export(
            net,
            given,
            dynamo=True,
            opset_version=18,
            custom_translation_table=translations(),
            verbose=False,
        )
        meant = net(*given)
    assert {node.op_type for node in program.model.graph} <= {
        "Add",
        "Conv",
        "Mul",
        "Sigmoid",
        "Sub",
    }
    program.save(tmp_path / "both.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "both.onnx", providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_inputs()]
    (found,) = session.run(
        None, {name: value.numpy() for name, value in zip(names, given, strict=True)}
    )
    assert (torch.from_numpy(found) - meant).abs().max() <= 1e-5
