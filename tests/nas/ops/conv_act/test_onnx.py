"""Exported operators and networks against ONNX Runtime."""

import logging
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from nas.ops.conv_act import ATTENTIONS, EPILOGUES, conv_act
from nas.ops.conv_act.onnx import translations
from nas.ops.fuse import fuse
from nas.ops.span_attention.onnx import translations as attention_translations
from search_spaces import build, published
from search_spaces.checkpoints.official import load_official
from tests.nas.ops.conv_act.operands import operands

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

CHECKPOINTS = Path(__file__).parents[5] / "shared" / "reference" / "checkpoints"
STANDARD = {
    "Add", "Concat", "Conv", "DepthToSpace", "Erf", "HardSigmoid", "HardSwish", "LeakyRelu", "Mul", "Relu",
    "Sigmoid", "Sub",
}  # fmt: skip


class One(nn.Module):
    """An operator whose weights are constants."""

    def __init__(self, arguments):
        super().__init__()
        _, weight, bias, self.epilogue, _, gate, shift = arguments
        for name, value in {"weight": weight, "bias": bias, "gate": gate, "shift": shift}.items():
            self.register_buffer(name, value)

    def forward(self, x, skip=None):
        return conv_act(x, self.weight, self.bias, self.epilogue, skip, self.gate, self.shift)


def run_exported(net, given, **options):
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # it tells of every package that it does without
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch.export's own
            program = torch.onnx.export(
                net, given, dynamo=True, opset_version=18, verbose=False,
                custom_translation_table=translations() | attention_translations(), **options,
            )  # fmt: skip
    finally:
        log.setLevel(level)
    assert {node.op_type for node in program.model.graph} <= STANDARD
    assert {node.domain for node in program.model.graph} == {""}
    return onnxruntime.InferenceSession(
        program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def feed(session, *given):
    names = [value.name for value in session.get_inputs()]
    (found,) = session.run(
        None, {name: value.numpy() for name, value in zip(names, given, strict=True)}
    )
    return torch.from_numpy(found)


@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_every_epilogue_is_translated(epilogue):
    arguments = operands(epilogue, dtype=torch.float32)
    given = (arguments[0], arguments[4]) if epilogue in ATTENTIONS else (arguments[0],)
    net = One(arguments).eval()
    wanted = net(*given)
    assert (
        feed(run_exported(net, given), *given) - wanted
    ).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("attention", ["operator", "epilogue"])
@pytest.mark.parametrize("name", ["span", "spanv2"])
def test_a_whole_fused_network_is_translated_at_any_size(name, attention):
    torch.manual_seed(0)
    net = build(published(name)).eval()
    checkpoint = CHECKPOINTS / "team22_spanv2_c2.pth"
    if name == "spanv2" and checkpoint.exists():  # at PyTorch's start it gives next to nothing
        load_official(net, checkpoint)
    image = nn.functional.avg_pool2d(torch.rand(1, 3, 12, 14), 5, 1, 2)
    sides = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    session = run_exported(fuse(net, attention=attention), (image,), dynamic_shapes=(sides,))
    for size in ((12, 14), (9, 17)):
        image = nn.functional.avg_pool2d(torch.rand(1, 3, *size), 5, 1, 2)
        with torch.no_grad():
            wanted = net(image)
        assert wanted.abs().max() > 0.1
        assert (feed(session, image) - wanted).abs().max() <= 1e-5 * wanted.abs().max()
