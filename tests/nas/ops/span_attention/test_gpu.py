"""Every backend on a GPU: as near to float64 as plain PyTorch in the same dtype, whatever the layout."""

import itertools

import pytest
import torch

from nas.ops.backend import using, why_not
from nas.ops.span_attention import parameter_free_attention, reference, span_attention
from tests.nas.ops.span_attention.maps import LAYOUTS, make_inputs, meaning, worst_error

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="no CUDA GPU: kernels cannot run on one"
    ),
]
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
CHANNELS = (3, 16, 20, 28, 32, 48, 50, 52, 64)
SIZES = (
    (1, 1),
    (1, 7),
    (33, 47),
    (20, 34),
    (64, 96),
)  # vectors of 1, 2 and 4 or 8 pixels, and one pixel
OPS = {"span_attention": span_attention, "parameter_free_attention": parameter_free_attention}
PLAIN = {
    "span_attention": reference.span_attention,
    "parameter_free_attention": reference.parameter_free_attention,
}


@pytest.fixture(autouse=True)
def _exact_products(monkeypatch):
    """Plain PyTorch is the yardstick: in float32 without TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


@pytest.fixture(params=["cuda", "triton", "reference"])
def backend(request):
    reason = None if request.param == "reference" else why_not(request.param, "span_attention")
    if reason:
        pytest.skip(f"{request.param}: {reason}")
    with using(request.param):
        yield request.param


def _cases():
    layouts = itertools.cycle(
        [*((layout,) * 3 for layout in LAYOUTS), *itertools.permutations(LAYOUTS, 3)]
    )
    for channels, (height, width), num in itertools.product(CHANNELS, SIZES, (1, 3)):
        yield (num, channels, height, width), next(layouts)


def _run(function, given, grad, count):
    leaves = [value.detach().requires_grad_() for value in given[:count]]
    out = function(*leaves)
    return (out, *torch.autograd.grad(out, leaves, grad))


@pytest.mark.parametrize("dtype", DTYPES)
def test_error_is_at_most_twice_plain_torch_s(backend, dtype):
    wrong = {}
    for shape, layouts in _cases():
        grad, *given = make_inputs(shape, dtype, layouts=layouts)
        meant = meaning(grad, *given)
        for op, count in (("span_attention", 4), ("parameter_free_attention", 2)):
            found = _run(OPS[op], given, grad, count)
            plain = _run(PLAIN[op], given, grad, count)
            assert found[0].stride() == torch.empty_like(given[1]).stride(), (shape, layouts)
            for place, (value, usual, wanted) in enumerate(
                zip(found, plain, meant[op], strict=True)
            ):
                limit = max(2 * worst_error(usual, wanted), 2 * torch.finfo(dtype).eps)
                if not (error := worst_error(value, wanted)) <= limit:
                    wrong[op, place, shape, layouts] = (error, limit)
    assert wrong == {}


def test_crops_and_expanded_gradients_are_served(backend):
    whole = torch.randn(2, 20, 9, 12, device="cuda")
    _, _, _, weight, bias = make_inputs((2, 20, 1, 1), torch.float32)
    crop, turned = whole[:, :, 2:7, 3:8], whole[:, :, :5, :5].contiguous().transpose(2, 3)
    grad = torch.ones(1, 1, 1, 1, device="cuda").expand(2, 20, 5, 5)
    given = (crop, turned, weight, bias)
    for value, wanted in zip(
        _run(span_attention, given, grad, 4), meaning(grad, *given)["span_attention"], strict=True
    ):
        assert worst_error(value, wanted) <= 1e-6


def test_unaligned_slices_are_served(backend):
    """Memory that starts between two vectors: narrower accesses or a copy, never a fault."""
    for dtype, rows, first in itertools.product(DTYPES, (True, False), (1, 2, 3)):
        value = torch.randn(2, 40, 8, 16, device="cuda", dtype=dtype)
        value = value.contiguous(memory_format=torch.channels_last) if rows else value
        f = value[:, first : first + 32]
        _, x, _, weight, bias = make_inputs((2, 32, 8, 16), dtype)
        shifted = (
            torch.empty(32 * 32 + 1, device="cuda", dtype=dtype)[1:]
            .view(32, 32, 1, 1)
            .copy_(weight)
        )
        meant = reference.span_attention(*(one.double() for one in (x, f, weight, bias))).cpu()
        with torch.no_grad():
            assert (
                worst_error(span_attention(x, f, shifted, bias), meant)
                <= 2 * torch.finfo(dtype).eps
            )


def test_the_current_stream_and_a_graph_are_used(backend):
    _, x, f, weight, bias = make_inputs((1, 32, 64, 64), torch.float32)
    stream = torch.cuda.Stream()
    with torch.no_grad(), torch.cuda.stream(stream):
        span_attention(x, f, weight, bias)
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            out = span_attention(x, f, weight, bias)
        x.copy_(torch.randn_like(x))
        graph.replay()
    torch.cuda.synchronize()
    meant = reference.span_attention(*(value.double() for value in (x, f, weight, bias)))
    assert worst_error(out, meant.cpu()) <= 1e-6


def test_the_kernel_itself_runs(backend):
    if backend == "reference":
        pytest.skip("reference has no kernel of its own")
    _, x, f, weight, bias = make_inputs((1, 32, 32, 32), torch.float32)
    with torch.no_grad():
        span_attention(x, f, weight, bias)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
            span_attention(x, f, weight, bias)
            torch.cuda.synchronize()
    kernels = [event.key for event in seen.key_averages() if event.device_time_total > 0]
    assert len(kernels) == 1
    assert ("span_attention" if backend == "cuda" else "forward") in kernels[0]


def test_a_mix_of_devices_is_refused():
    _, x, f, weight, bias = make_inputs((1, 16, 4, 4), torch.float32)
    with pytest.raises(ValueError, match="x and f must lie on one device"):
        span_attention(x.cpu(), f, weight, bias)
    with pytest.raises(ValueError, match="weight and bias must lie on the device of f"):
        span_attention(x, f, weight.cpu(), bias)
