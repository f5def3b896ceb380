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


class EveryEpilogue(nn.Module):
    """An operator of each epilogue on the same maps, whose weights are constants."""

    def __init__(self):
        super().__init__()
        for epilogue in EPILOGUES:
            _, weight, bias, _, _, gate, shift = operands(epilogue, dtype=torch.float32)
            constants = {"weight": weight, "bias": bias, "gate": gate, "shift": shift}
            for name, value in constants.items():
                self.register_buffer(f"{epilogue}_{name}".replace(".", "_"), value)

    def forward(self, x, skip):
        return tuple(self.call_operator(epilogue, x, skip) for epilogue in EPILOGUES)

    def call_operator(self, epilogue, x, skip):
        weight, bias, gate, shift = (
            getattr(self, f"{epilogue}_{name}".replace(".", "_"))
            for name in ("weight", "bias", "gate", "shift")
        )
        skip = skip if epilogue in ATTENTIONS else None
        return conv_act(x, weight, bias, epilogue, skip, gate, shift)


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
    outputs = session.run(
        None, {name: value.numpy() for name, value in zip(names, given, strict=True)}
    )
    return [torch.from_numpy(output) for output in outputs]


def test_every_epilogue_is_translated():
    x, *_, skip, _, _ = operands("residual", dtype=torch.float32)
    net = EveryEpilogue().eval()
    outputs, references = feed(run_exported(net, (x, skip)), x, skip), net(x, skip)
    assert len(EPILOGUES) > 10
    errors = {
        epilogue: ((output - reference).abs().max() / reference.abs().max()).item()
        for epilogue, output, reference in zip(EPILOGUES, outputs, references, strict=True)
    }
    assert {epilogue: error for epilogue, error in errors.items() if not error <= 1e-5} == {}


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
        (output,) = feed(session, image)
        assert (output - wanted).abs().max() <= 1e-5 * wanted.abs().max()
