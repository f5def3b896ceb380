"""What holds for every operator: transforms, forward AD, second derivatives, autocast, refused kinds."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import grad, hessian, jvp, vmap

from nas.ops import rules
from nas.ops.conv_act import EPILOGUES, conv_act, reference
from nas.ops.fuse import fuse
from nas.ops.span_attention import parameter_free_attention, span_attention
from nas.ops.span_attention import reference as attentions
from search_spaces import build, published
from tests.nas.ops import torch_warnings
from tests.nas.ops.conv_act.operands import operands
from tests.nas.ops.span_attention.maps import make_inputs

pytestmark = torch_warnings.IGNORED

EVERY = ("span_attention", "parameter_free_attention", *(f"conv_act {name}" for name in EPILOGUES))


def case(name, dtype=torch.float64):
    """An operator and its plain form, as functions of one map, and such a map."""
    if name.startswith("conv_act"):
        x, *rest = operands(name.split()[1], cin=3, cout=3, size=(3, 4), dtype=dtype)
        return lambda value: conv_act(value, *rest), lambda value: reference(value, *rest), x
    _, x, f, *rest = (value.cpu() for value in make_inputs((2, 3, 3, 4), dtype))
    if name == "span_attention":
        return (
            lambda value: span_attention(x, value, *rest),
            lambda value: attentions.span_attention(x, value, *rest),
            f,
        )
    return (
        lambda value: parameter_free_attention(x, value),
        lambda value: attentions.parameter_free_attention(x, value),
        f,
    )


def summed(function):
    return lambda value: function(value).square().sum()


def dual(function, value, tangent):
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(function(forward_ad.make_dual(value, tangent))).tangent


@pytest.mark.parametrize("with_grad", [True, False])
@pytest.mark.parametrize("name", EVERY)
def test_forward_derivatives_and_transforms_are_right(name, with_grad):
    function, plain, value = case(name)
    tangent = torch.randn_like(value)
    several = torch.stack([value, tangent])
    with torch.set_grad_enabled(with_grad):
        for transformed in (
            lambda f: jvp(f, (value,), (tangent,)),
            lambda f: dual(f, value, tangent),
            lambda f: grad(summed(f))(value),
            lambda f: vmap(f)(several),
            lambda f: vmap(grad(summed(f)))(several),
        ):
            torch.testing.assert_close(transformed(function), transformed(plain))


@pytest.mark.parametrize("with_grad", [True, False])
@pytest.mark.parametrize("epilogue", ["residual", "parameter_free"])
def test_a_skip_alone_can_be_transformed(epilogue, with_grad):
    x, weight, bias, _, skip, *_ = operands(epilogue)
    several = torch.stack([skip, -skip])
    with torch.set_grad_enabled(with_grad):
        found = vmap(lambda each: conv_act(x, weight, bias, epilogue, each))(several)
    wanted = torch.stack([conv_act(x, weight, bias, epilogue, each) for each in several])
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("name", ["span_attention", "conv_act silu"])
def test_second_derivatives_of_torch_func_are_right(name):
    function, plain, value = case(name)
    torch.testing.assert_close(hessian(summed(function))(value), hessian(summed(plain))(value))


@pytest.mark.parametrize("name", EVERY)
def test_second_derivatives_of_autograd_are_refused_not_wrong(name):
    function, _, value = case(name)
    value.requires_grad_()
    out = function(value)
    (slope,) = torch.autograd.grad(out.square().sum(), value, create_graph=True)
    with pytest.raises(
        RuntimeError, match=r"has no second derivative; use nas\.ops\..*reference"
    ) as caught:
        torch.autograd.grad(slope.square().sum() + out.sum(), value)
    assert "\n" not in str(caught.value)


def test_forward_derivatives_are_right_when_compiled():
    function, plain, value = case("conv_act silu")
    compiled = torch.compile(
        lambda x: jvp(function, (x,), (x,))[1], fullgraph=True, backend="aot_eager", dynamic=False
    )
    torch.testing.assert_close(compiled(value), jvp(plain, (value,), (value,))[1])


def test_forward_ad_past_the_public_functions_is_refused():
    x, *rest = operands("relu")
    maps = [value.cpu() for value in make_inputs((1, 3, 2, 2), torch.float32)]
    for call, given in (
        (lambda value: torch.ops.nas.conv_act(value, *rest), x),
        (lambda value: torch.ops.nas.span_attention(value, *maps[2:]), maps[1]),
        (lambda value: torch.ops.nas.parameter_free_attention_backward(value, *maps[1:3]), maps[0]),
    ):
        with pytest.raises(
            RuntimeError, match=r"has no forward derivative; call it through nas\.ops"
        ):
            jvp(call, (given,), (given,))


@pytest.mark.parametrize("transformed", [False, True])
def test_under_autocast_an_operator_takes_the_dtypes_that_its_plain_form_does(transformed):
    wide = [value.cpu() for value in make_inputs((1, 3, 4, 4), torch.float32)[1:]]
    low = [value.bfloat16() for value in wide]
    arguments = operands("conv1x1", cin=3, cout=3, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):

        def dtype_of(function, first, *rest):
            if transformed:
                return jvp(lambda value: function(value, *rest), (first,), (first,))[0].dtype
            return function(first, *rest).dtype

        assert dtype_of(conv_act, arguments[0].bfloat16(), *arguments[1:]) == torch.bfloat16
        assert dtype_of(span_attention, low[0], low[1], *wide[2:]) == torch.bfloat16
        assert dtype_of(parameter_free_attention, wide[0], low[1]) == torch.float32
        assert dtype_of(parameter_free_attention, low[0], low[1]) == torch.bfloat16
        assert dtype_of(conv_act, *operands("relu", dtype=torch.float64)) == torch.float64
        with pytest.raises(TypeError, match=r"torch\.int32"):
            conv_act(arguments[0].int(), *arguments[1:])


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("level", ["operator", "epilogue"])
@pytest.mark.parametrize("name", ["span", "spanv2"])
def test_a_fused_network_follows_autocast_as_the_plain_one(name, level, inside):
    image = torch.rand(2, 3, 11, 13, generator=torch.Generator().manual_seed(0))
    net = build(published(name))
    fused = fuse(net, attention=level)
    for each in (net, fused):
        with torch.autocast("cpu", torch.bfloat16):
            loss = each(image).float().square().mean()
            if inside:
                loss.backward()
        if not inside:
            loss.backward()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        wanted, found = net(image), fused(image)
    assert found.dtype == wanted.dtype == torch.bfloat16
    assert alike(found, wanted)
    pairs = zip(fused.named_parameters(), net.parameters(), strict=True)
    assert [name for (name, mine), theirs in pairs if not alike(mine.grad, theirs.grad)] == []


def alike(found, wanted):
    """To a twentieth: a product or sum of bfloat16 is rounded to a 256th, and hundreds of them follow."""
    return (found - wanted).float().norm() <= 0.05 * wanted.float().norm()


KINDS = {
    "sparse": (
        lambda value: value.to_sparse(),
        ValueError,
        "layout torch.strided .* got torch.sparse_coo",
    ),
    "mkldnn": (
        lambda value: value.to_mkldnn(),
        ValueError,
        "layout torch.strided .* got torch._mkldnn",
    ),
    "fp8": (
        lambda value: value.to(torch.float8_e4m3fn),
        TypeError,
        "float16 or bfloat16, got torch.float8",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("with_grad", [True, False])
@pytest.mark.parametrize("name", ["span_attention", "parameter_free_attention", "conv_act relu"])
def test_other_kinds_of_tensors_get_one_line(name, with_grad, kind):
    make, error, said = KINDS[kind]
    x, f, *rest = (value.cpu() for value in make_inputs((1, 3, 4, 4), torch.float32)[1:])
    calls = {
        "span_attention": lambda: span_attention(make(x), make(f), *rest),
        "parameter_free_attention": lambda: parameter_free_attention(make(x), make(f)),
        "conv_act relu": lambda: conv_act(
            make(x), make(rest[0]) if kind == "fp8" else rest[0], None, "relu"
        ),
    }
    with torch.set_grad_enabled(with_grad), pytest.raises(error, match=said) as caught:
        calls[name]()
    assert "\n" not in str(caught.value)


def test_nothing_transforms_usually():
    assert not rules.transforming()
