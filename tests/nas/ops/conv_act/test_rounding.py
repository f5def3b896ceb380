"""TF32 as tensor cores form it: what they cut off was rounded before."""

import struct

import pytest
import torch

pytest.importorskip("triton")

from nas.ops import backend
from nas.ops.conv_act import reference
from nas.ops.conv_act import triton as launcher
from nas.ops.conv_act.rounding import Rounding, round_to_tf32
from nas.ops.conv_act.triton import forward, launch, pack
from tests.nas.ops.conv_act.operands import in_double, operands, relative_error
from tests.nas.ops.tensor_cores import tensor_cores

__all__ = ["tensor_cores"]
interpreted = pytest.mark.skipif(
    not backend.interpreting(), reason="TRITON_INTERPRET is not 1: see test_gpu"
)
LAST = torch.channels_last
LIMIT = 3.5e-4  # of a convolution of 32 channels; operands that are cut give 5.7e-4 to 1.1e-3


def from_bits(bits):
    return struct.unpack("f", struct.pack("I", bits))[0]


def test_rounding_goes_to_the_nearest_and_ties_away_from_zero():
    step = 2.0**-10
    given = [
        1.0,
        1 + 0.49 * step,
        1 + 0.5 * step,
        -1 - 0.5 * step,
        1 + 1.5 * step,
        0.0,
        float("inf"),
        3e38,
    ]
    wanted = [1.0, 1.0, 1 + step, -1 - step, 1 + 2 * step, 0.0, float("inf"), 3e38]
    found = round_to_tf32(torch.tensor(given))
    torch.testing.assert_close(found, torch.tensor(wanted), rtol=step / 2, atol=0)
    assert found[:7].tolist() == wanted[:7]
    assert (found.view(torch.int32) & 0x1FFF).eq(0).all()


@pytest.mark.parametrize("bits", [0x7FC00000, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001])
def test_rounding_keeps_what_is_no_number(bits):
    assert round_to_tf32(torch.tensor([from_bits(bits), 1.0])).isnan().tolist() == [True, False]


@pytest.fixture(params=["operator", "plan"])
def product(request, tensor_cores):
    """conv_act in TF32 as the operator, which rounds its operands, or as a plan, which did so before."""
    launcher._launches.clear()
    if request.param == "operator":
        return lambda *arguments: forward(*arguments, "tf32")

    def planned(x, weight, bias, epilogue, skip, gate_weight, gate_bias):
        out = torch.empty(x.shape[0], weight.shape[0], *x.shape[2:]).contiguous(memory_format=LAST)
        gate = pack(round_to_tf32(gate_weight)) if gate_weight is not None else None
        x, weight = round_to_tf32(x), pack(round_to_tf32(weight))
        launch(x, weight, bias, epilogue, out=out, skip=skip, gate_weight=gate, gate_bias=gate_bias,
               precision="tf32", rounding=Rounding(x=False, weight=False))  # fmt: skip
        return out

    return planned


@interpreted
@pytest.mark.parametrize("cin", [3, 32])
@pytest.mark.parametrize("epilogue", ["relu", "conv1x1", "parameter_free"])
def test_operands_are_rounded_not_cut(epilogue, cin, product):
    arguments = operands(epilogue, cin=cin, cout=32, size=(6, 18), dtype=torch.float32)
    assert relative_error(product(*arguments), reference(*in_double(arguments))) <= LIMIT


@interpreted
def test_cut_operands_are_seen(tensor_cores):
    arguments = operands("conv1x1", cin=32, cout=32, size=(6, 18), dtype=torch.float32)
    x, weight, bias, epilogue, skip, gate_weight, gate_bias = arguments
    out = torch.empty(2, 32, 6, 18).contiguous(memory_format=LAST)
    launch(x, pack(weight), bias, epilogue, out=out, skip=skip, gate_weight=pack(gate_weight),
           gate_bias=gate_bias, precision="tf32", rounding=Rounding(x=False, weight=False))  # fmt: skip
    assert relative_error(out, reference(*in_double(arguments))) > LIMIT


@interpreted
@pytest.mark.parametrize("bits", [0x7FC00000, 0x7FFFFFFF, 0x7F800001])
def test_a_value_that_is_no_number_stays_so(bits, product):
    for epilogue in ("relu", "conv1x1"):
        x, weight, *rest = operands(
            epilogue, cin=16, cout=16, batch=1, size=(1, 3), dtype=torch.float32
        )
        x[0, 0, 0, 1] = from_bits(bits)
        assert product(x, weight, *rest).isnan().all(), epilogue


@interpreted
def test_a_map_is_stored_rounded_where_that_is_asked_for(tensor_cores):
    x = torch.randn(1, 16, 3, 5).contiguous(memory_format=LAST)
    x[0, 0, 0, 0] = float("nan")
    identity = pack(torch.eye(16)[:, :, None, None])
    out = torch.empty_like(x)
    kept = Rounding(x=False, weight=False, out=False)
    launch(x.nan_to_num(), identity, None, "none", out=out, precision="tf32x3", rounding=kept)
    assert torch.equal(out, x.nan_to_num())
    launch(
        x,
        identity,
        x.new_zeros(16),
        "none",
        out=out,
        precision="tf32x3",
        rounding=kept._replace(out=True),
    )
    assert torch.equal(out[:, :, 1:], round_to_tf32(x)[:, :, 1:])
    assert out[0, :, 0, 0].isnan().all()
