# ruff: noqa: E501 - one case a line
"""The operators as PyTorch sees them: meaning, layout, autograd, compilation, FLOPs and refusals."""

import warnings

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from nas.ops.span_attention import parameter_free_attention, reference, span_attention
from nas.ops.span_attention.module import FusedLearnedPointwise, FusedParameterFree
from search_spaces.layers.attention.gates import LearnedPointwise, ParameterFree
from tests.nas.ops import torch_warnings
from tests.nas.ops.span_attention.maps import LAYOUTS, make_inputs, meaning, worst_error

OPS = {
    "span_attention": (span_attention, 4),
    "parameter_free_attention": (parameter_free_attention, 2),
}


def _given(shape=(2, 5, 3, 4), dtype=torch.float64, layout="nchw"):
    values = make_inputs(shape, dtype, layouts=(layout,) * 3)[1:]
    return [value.cpu() for value in values] if layout == "nchw" else values


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_op_equals_the_plain_form_and_lies_as_f(op, layout):
    function, count = OPS[op]
    grad, *given = make_inputs((3, 20, 5, 7), torch.float32, layouts=("nchw", "nchw", layout))
    given = [value.detach().requires_grad_() for value in given[:count]]
    out = function(*given)
    meant = meaning(
        grad, *make_inputs((3, 20, 5, 7), torch.float32, layouts=("nchw", "nchw", layout))[1:]
    )[op]
    found = (out, *torch.autograd.grad(out, given, grad))
    assert (
        max(worst_error(value, wanted) for value, wanted in zip(found, meant, strict=True)) <= 1e-6
    )
    with torch.no_grad():
        assert torch.equal(function(*given), out)
    assert out.stride() == torch.empty_like(given[1]).stride()


@pytest.mark.parametrize("op", OPS)
def test_gradients_are_right(op):
    function, count = OPS[op]
    assert torch.autograd.gradcheck(
        function, [value.requires_grad_() for value in _given()[:count]]
    )


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("layout", LAYOUTS)
@torch_warnings.IGNORED
def test_op_keeps_the_dispatcher_s_contract(op, layout):
    given = [
        value.detach().requires_grad_() for value in _given(dtype=torch.float32, layout=layout)
    ]
    torch.library.opcheck(getattr(torch.ops.nas, op).default, tuple(given[: OPS[op][1]]))


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dynamic", [False, True])
def test_op_compiles_into_one_graph(op, dynamic):
    function, count = OPS[op]
    given = [value.requires_grad_() for value in _given(dtype=torch.float32)[:count]]
    compiled = torch.compile(
        lambda *values: function(*values) * 2, fullgraph=True, dynamic=dynamic, backend="aot_eager"
    )
    out = compiled(*given)
    torch.testing.assert_close(out, function(*given) * 2)
    out.sum().backward()
    assert all(value.grad is not None for value in given)


def test_flops_are_the_plain_form_s():
    x, f, weight, bias = (value.requires_grad_() for value in _given((2, 6, 5, 7), torch.float32))
    counts = []
    for function in (
        span_attention,
        lambda x, f, weight, bias: (x + f) * F.conv2d(f, weight, bias),
    ):
        with FlopCounterMode(display=False) as forward:
            out = function(x, f, weight, bias)
        with FlopCounterMode(display=False) as backward:
            out.sum().backward()
        counts.append((forward.get_total_flops(), backward.get_total_flops()))
    assert counts[0] == counts[1] == (2 * 6 * 6 * 2 * 5 * 7, 4 * 6 * 6 * 2 * 5 * 7)
    with FlopCounterMode(display=False) as free:
        parameter_free_attention(x, f).sum().backward()
    assert free.get_total_flops() == 0


def test_second_derivatives_are_refused_not_wrong():
    given = [value.requires_grad_() for value in _given()]
    for function, count in OPS.values():
        (slope,) = torch.autograd.grad(function(*given[:count]).sum(), given[0], create_graph=True)
        with pytest.raises(RuntimeError, match="second derivative"):
            torch.autograd.grad(slope.sum(), given[1])


def _like(value, **changes):
    return torch.empty_like(value, **changes)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda x, f, w, b: (x[0], f[0], w, b), ValueError, r"x must have four dimensions .* got \(5, 3, 4\)"),
        (lambda x, f, w, b: (x, f[0], w, b), ValueError, r"f must have four dimensions"),
        (lambda x, f, w, b: (x[:, :4], f, w, b), ValueError, r"x and f must have one shape, got x \(2, 4, 3, 4\)"),
        (lambda x, f, w, b: (x.float(), f, w, b), TypeError, r"x and f must have one dtype, got x torch.float32"),
        (lambda x, f, w, b: (x.int(), f.int(), w, b), TypeError, r"x must be float64, .* got torch.int32"),
        (lambda x, f, w, b: (x[:, :, :0], f[:, :, :0], w, b), ValueError, r"at least one .* got \(2, 5, 0, 4\)"),
        (lambda x, f, w, b: (x[..., :0], f[..., :0], w, b), ValueError, r"row and column, got \(2, 5, 3, 0\)"),
        (lambda x, f, w, b: (x[:, :0], f[:, :0], w, b), ValueError, r"one channel, .* got \(2, 0, 3, 4\)"),
        (lambda x, f, w, b: (x, f, w, None), TypeError, r"bias must be a tensor, got None"),
        (lambda x, f, w, b: (x, None, w, b), TypeError, r"f must be a tensor, got None"),
        (lambda x, f, w, b: (x, _like(f, device="meta"), w, b), ValueError, r"on one device, got x on cpu"),
        (lambda x, f, w, b: (x, f, w[:4], b), ValueError, r"weight must be .* got weight \(4, 5, 1, 1\)"),
        (lambda x, f, w, b: (x, f, w, b[:4]), ValueError, r"bias \(C,\) with the C of f, got .* bias \(4,\)"),
        (lambda x, f, w, b: (x, f, w.float(), b), TypeError, r"dtype of f, torch.float64, got torch.float32"),
        (lambda x, f, w, b: (x, f, w, _like(b, device="meta")), ValueError, r"device of f, cpu, got cpu and meta"),
    ],
)  # fmt: skip
def test_wrong_arguments_get_one_line(change, error, said):
    given = change(*_given())
    for no_grad in (True, False):
        with torch.set_grad_enabled(not no_grad), pytest.raises(error, match=said) as caught:
            span_attention(*given)
        assert "\n" not in str(caught.value)
    if given[1] is not None and (given[0].shape != given[1].shape or given[1].numel() == 0):
        with pytest.raises(error, match=said):
            parameter_free_attention(*given[:2])


@pytest.mark.parametrize(
    ("plain", "fused"),
    [(LearnedPointwise, FusedLearnedPointwise), (ParameterFree, FusedParameterFree)],
)
def test_twins_share_weights_and_values(plain, fused):
    x, f = (value.float() for value in _given((1, 12, 6, 5))[:2])
    old, new = plain(12), fused(12)
    new.load_state_dict(old.state_dict())
    plain(12).load_state_dict(new.state_dict())
    torch.testing.assert_close(new(x, f), old(x, f))


def test_op_follows_autocast_as_the_plain_form_does():
    x, f, weight, bias = (value.float() for value in _given())
    with torch.autocast("cpu", torch.bfloat16):
        out = span_attention(x, f, weight, bias)
        with torch.no_grad():
            assert torch.equal(span_attention(x, f, weight, bias), out)
    assert out.dtype == torch.bfloat16
    meant = reference.span_attention(x, f, weight, bias)
    assert worst_error(out, meant.double()) < 2e-2


def test_an_operator_shows_in_a_profile():
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
            span_attention(*_given())
    assert "nas::span_attention" in {event.key for event in seen.key_averages()}
