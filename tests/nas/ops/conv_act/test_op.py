# ruff: noqa: E501 - long lists of operands, one case or call a line
import re
import warnings

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nas.ops import backend
from nas.ops.conv_act import ATTENTIONS, EPILOGUES, GATED, conv_act, reference
from search_spaces.layers.activation import ACTIVATIONS, activate
from search_spaces.layers.attention import VALUEWISE
from search_spaces.layers.attention.choice import make_attention
from tests.nas.ops import torch_warnings
from tests.nas.ops.conv_act.operands import operands

NAMES = {"none": "residual"} | {name: name for name in VALUEWISE if name != "none"}


def plain(arguments):
    """The same from the blocks' own modules."""
    x, weight, bias, epilogue, skip, gate_weight, gate_bias = arguments
    f = torch.nn.functional.conv2d(x, weight, bias, padding=weight.shape[2] // 2)
    if epilogue in ATTENTIONS:
        name = next(block for block, ours in NAMES.items() if ours == epilogue)
        module = make_attention(name, f.shape[1]).to(f.dtype)
        if gate_weight is not None:
            module.conv.weight, module.conv.bias = map(torch.nn.Parameter, (gate_weight, gate_bias))
        return module(skip, f)
    return f if epilogue == "none" else activate(epilogue, f)


def test_there_is_an_epilogue_for_every_activation_and_attention():
    assert set(EPILOGUES) == {"none", *ACTIVATIONS, *NAMES.values()}
    assert set(ATTENTIONS) == set(NAMES.values())
    assert set(GATED) < set(ATTENTIONS)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_the_operator_is_what_the_blocks_compute_bit_by_bit(epilogue, kernel):
    arguments = operands(epilogue, kernel=kernel, dtype=torch.float32)
    kept = [value.clone() if isinstance(value, torch.Tensor) else value for value in arguments]
    with torch.no_grad():
        wanted = plain(arguments)
        assert torch.equal(conv_act(*arguments), wanted)
        assert torch.equal(reference(*arguments), wanted)
    assert all(
        torch.equal(a, b)
        for a, b in zip(arguments, kept, strict=True)
        if isinstance(a, torch.Tensor)
    )


@pytest.mark.parametrize("epilogue", ["none", "silu", "parameter_free", "diagonal"])
@torch_warnings.IGNORED
def test_the_operator_keeps_the_contract_of_the_dispatcher(epilogue):
    arguments = operands(epilogue)
    for value in arguments:
        if isinstance(value, torch.Tensor):
            value.requires_grad_()
    torch.library.opcheck(torch.ops.nas.conv_act.default, arguments)


@pytest.mark.parametrize(
    "case", ["channels_last", "slice", "no bias", "one pixel", "one channel", "image"]
)
@torch_warnings.IGNORED
def test_the_contract_holds_in_every_layout(case):
    size = (1, 1) if case == "one pixel" else (5, 4)
    cin = {"one channel": 1, "image": 3}.get(case, 4)
    x, weight, bias, epilogue, skip, *gate = operands("conv1x1", cin=cin, size=size)
    if case in ("channels_last", "one pixel"):
        x = x.contiguous(memory_format=torch.channels_last)
    if case == "slice":
        x = torch.rand(2, 9, 5, 4, dtype=x.dtype).contiguous(memory_format=torch.channels_last)[
            :, 3:7
        ]
        skip = skip.contiguous(memory_format=torch.channels_last)
    if case == "no bias":
        bias, gate = None, [gate[0], None]
    arguments = (x, weight, bias, epilogue, skip, *gate)
    torch.library.opcheck(torch.ops.nas.conv_act.default, arguments)
    torch.testing.assert_close(conv_act(*arguments), reference(*arguments))


@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_gradients_are_those_of_differences(epilogue):
    arguments = operands(epilogue, cin=3, cout=2, batch=1, size=(3, 4))
    for value in arguments:
        if isinstance(value, torch.Tensor):
            value.requires_grad_()
    assert torch.autograd.gradcheck(conv_act, arguments)


@pytest.mark.parametrize("wanted", [{0}, {1}, {2}, {4}, {5}, {6}, {0, 4}, {5, 6}])
def test_gradients_of_some_operands_alone(wanted):
    def gradients(function):
        arguments = operands("conv1x1")
        for i in wanted:
            arguments[i].requires_grad_()
        function(*arguments).square().sum().backward()
        return [value.grad if isinstance(value, torch.Tensor) else None for value in arguments]

    def by_hand(x, weight, bias, epilogue, skip, gate_weight, gate_bias):
        f = torch.nn.functional.conv2d(x, weight, bias, padding=1)
        return (skip + f) * torch.nn.functional.conv2d(f, gate_weight, gate_bias)

    torch.testing.assert_close(gradients(conv_act), gradients(by_hand))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("needed", [(1, 1, 1, 1, 1, 1), (0, 1, 0, 0, 1, 0), (0, 0, 0, 1, 0, 1)])
@pytest.mark.parametrize(
    "epilogue", ["none", "residual", "gelu", "hard_parameter_free", "conv1x1", "diagonal"]
)
@torch_warnings.IGNORED
def test_the_gradient_keeps_the_contract_of_the_dispatcher(epilogue, needed, layout):
    x, *rest = operands(epilogue)
    needed = [
        bool(want) and value is not None
        for want, value in zip(needed, (x, *rest[:2], *rest[3:]), strict=True)
    ]
    grad = torch.ones(1, dtype=x.dtype).expand(2, 6, 5, 4)
    torch.library.opcheck(
        torch.ops.nas.conv_act_backward.default,
        (grad, x.contiguous(memory_format=layout), *rest, needed),
    )


def test_gradients_of_several_results_at_once():
    x, *rest = operands("conv1x1")
    out = conv_act(x.requires_grad_(), *rest)
    grads = torch.rand(3, *out.shape, dtype=out.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the loop that PyTorch falls back to
        (found,) = torch.autograd.grad(out, x, grads, is_grads_batched=True, retain_graph=True)
    torch.testing.assert_close(
        found, torch.stack([torch.autograd.grad(out, x, g, retain_graph=True)[0] for g in grads])
    )


@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_flops_of_the_gradient_are_those_of_the_plain_form(epilogue):
    counts = []
    for function in (lambda args: conv_act(*args), plain):
        arguments = operands(epilogue)
        for value in arguments:
            if isinstance(value, torch.Tensor):
                value.requires_grad_()
        out = function(arguments)
        with FlopCounterMode(display=False) as counter:
            out.sum().backward()
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize("epilogue", ["silu", "conv1x1"])
@torch_warnings.IGNORED
def test_it_compiles_as_one_graph_forward_and_backward(epilogue):
    def value_and_grad(function):
        arguments = operands(epilogue)
        arguments[0].requires_grad_()
        out = function(*arguments)
        out.sum().backward()
        return out, arguments[0].grad

    compiled = torch.compile(
        lambda *args: conv_act(*args) * 2, fullgraph=True, backend="aot_eager", dynamic=True
    )
    torch.testing.assert_close(
        value_and_grad(compiled), value_and_grad(lambda *args: conv_act(*args) * 2)
    )


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("epilogue", EPILOGUES)
def test_flops_are_those_of_the_plain_form(epilogue, device):
    counts = []
    for function in (lambda args: conv_act(*args), plain):
        arguments = [v.to(device) if isinstance(v, torch.Tensor) else v for v in operands(epilogue)]
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            function(arguments)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


X, WEIGHT, BIAS = torch.rand(2, 4, 5, 4), torch.rand(6, 4, 3, 3), torch.rand(6)
SKIP, GATE = torch.rand(2, 6, 5, 4), torch.rand(6, 6, 1, 1)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X, WEIGHT, BIAS, "swish"), ValueError, "epilogue 'swish' is not known; known: none, silu"),
        ((X[0], WEIGHT, BIAS, "relu"), ValueError, "x must be (N, Cin, H, W) and weight (C, Cin, k, k), got (4, 5, 4)"),
        ((X, WEIGHT[:, :, :2], BIAS, "relu"), ValueError, "kernel must be square and odd, got 2x3"),
        ((X, WEIGHT[:, :, :2, :2], BIAS, "relu"), ValueError, "kernel must be square and odd, got 2x2"),
        ((X[:, :3], WEIGHT, BIAS, "relu"), ValueError, "x must have the weight's 4 channels, got (2, 3, 5, 4)"),
        ((X.int(), WEIGHT.int(), None, "relu"), TypeError, "x must be float64, float32, float16 or bfloat16, got torch.int32"),
        ((X[:, :, :0], WEIGHT, BIAS, "relu"), ValueError, "at least one channel, row and column, got (2, 4, 0, 4)"),
        ((X[..., :0], WEIGHT, BIAS, "relu"), ValueError, "at least one channel, row and column, got (2, 4, 5, 0)"),
        ((X, WEIGHT[:0], None, "relu"), ValueError, "at least one channel, row and column, got (2, 4, 5, 4) and (0, "),
        ((X, None, BIAS, "relu"), TypeError, "weight must be a tensor, got None"),
        ((X, WEIGHT.half(), BIAS, "relu"), TypeError, "weight must have the dtype of x, torch.float32, got"),
        ((X, WEIGHT, BIAS[:5], "relu"), ValueError, "bias must have the shape (6,), got (5,)"),
        ((X, WEIGHT, BIAS, "residual"), ValueError, "epilogue 'residual' needs skip of shape (2, 6, 5, 4), got None"),
        ((X, WEIGHT, BIAS, "residual", SKIP[:1]), ValueError, "skip must have the shape (2, 6, 5, 4), got (1, 6, 5, 4)"),
        ((X, WEIGHT, BIAS, "relu", SKIP), ValueError, "epilogue 'relu' has no use for skip; leave it out"),
        ((X, WEIGHT, BIAS, "conv1x1", SKIP), ValueError, "needs gate_weight of shape (6, 6, 1, 1), got None"),
        ((X, WEIGHT, BIAS, "diagonal", SKIP, GATE), ValueError, "gate_weight must have the shape (6, 1, 1, 1), got"),
        ((X, WEIGHT, BIAS, "residual", SKIP, GATE), ValueError, "'residual' has no use for gate_weight"),
        ((X, WEIGHT, BIAS, "conv1x1", SKIP, GATE, BIAS.double()), TypeError, "gate_bias must have the dtype of x"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(arguments, error, message, device):
    arguments = [
        value.to(device) if isinstance(value, torch.Tensor) else value for value in arguments
    ]
    with pytest.raises(error, match=re.escape(message)) as caught:
        conv_act(*arguments)
    assert "\n" not in str(caught.value)


def test_operands_of_two_devices_are_refused():
    with pytest.raises(ValueError, match="bias must be on the device of x, cpu, got meta"):
        conv_act(X, WEIGHT, BIAS.to("meta"), "relu")


def test_a_backend_that_cannot_serve_says_why():
    assert (
        backend.why_not("cuda", "conv_act", device=torch.device("cpu"))
        == "conv_act has no cuda kernel"
    )
