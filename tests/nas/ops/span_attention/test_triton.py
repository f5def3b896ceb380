"""The Triton kernels against float64: on a GPU where there is one, else in Triton's interpreter."""

import itertools

import pytest
import torch

from tests.nas.ops.span_attention.maps import (
    DEVICE,
    LAYOUTS,
    make_inputs,
    make_map,
    meaning,
    worst_error,
)

pytest.importorskip("triton")

from nas.ops.span_attention import triton as kernels

# A store of bfloat16 truncates in the interpreter: one unit of its last place instead of half of one.
LIMITS = {torch.float32: 1e-6, torch.float16: 5e-4, torch.bfloat16: 8e-3}
CHANNELS = (3, 16, 20, 24, 28, 32, 48, 52, 64, 80)
SHAPES = ((1, 1, 1), (3, 1, 2), (1, 5, 13), (3, 8, 8))  # images, rows, columns


def _cases():
    """Every channel count with every shape, the layouts of grad, x and f taken in turn; some large."""
    triples = itertools.cycle(
        [*itertools.permutations(LAYOUTS, 3), *((layout,) * 3 for layout in LAYOUTS)]
    )
    for channels, (num, height, width) in itertools.product(CHANNELS, SHAPES):
        yield (num, channels, height, width), next(triples)
    yield (1, 16, 33, 47), ("nchw",) * 3
    yield (1, 28, 33, 47), ("slice", "channels_last", "nchw")


def _all_of(grad, x, f, weight, bias):
    return {
        "span_attention": (
            kernels.span_attention_forward(x, f, weight, bias),
            *kernels.span_attention_backward(grad, x, f, weight, bias),
        ),
        "parameter_free_attention": (
            kernels.parameter_free_attention_forward(x, f),
            *kernels.parameter_free_attention_backward(grad, x, f),
        ),
    }


def _errors(inputs):
    found, meant = _all_of(*inputs), meaning(*inputs)
    return {
        (op, place): worst_error(value, wanted)
        for op in found
        for place, (value, wanted) in enumerate(zip(found[op], meant[op], strict=True))
    }


@pytest.fixture(autouse=True)
def _empty_is_nan(monkeypatch):
    """Results start as NaN: an element that no kernel writes is seen."""

    def poison(make):
        return lambda *args, **kwargs: make(*args, **kwargs).fill_(torch.nan)

    monkeypatch.setattr(torch, "empty_like", poison(torch.empty_like))
    monkeypatch.setattr(torch, "empty", poison(torch.empty))


@pytest.mark.parametrize(("shape", "layouts"), list(_cases()))
def test_kernels_equal_float64(shape, layouts):
    errors = _errors(make_inputs(shape, torch.float32, layouts=layouts))
    assert {key: error for key, error in errors.items() if not error <= LIMITS[torch.float32]} == {}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("shape", "layouts"),
    [case for place, case in enumerate(_cases()) if place % 3 == 0 and case[0][2] < 33],
)
def test_kernels_equal_float64_in_two_bytes(dtype, shape, layouts):
    errors = _errors(make_inputs(shape, dtype, layouts=layouts))
    assert {key: error for key, error in errors.items() if not error <= LIMITS[dtype]} == {}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_results_lie_as_empty_like_says(layout):
    grad, x, f, weight, bias = make_inputs(
        (2, 6, 3, 5), torch.float32, layouts=("nchw", layout, layout)
    )
    found = _all_of(grad, x, f, weight, bias)
    for op, values in found.items():
        assert [value.stride() for value in values[:3]] == [torch.empty_like(x).stride()] * 3, op


def test_crops_transposed_and_expanded_maps_are_served():
    """Maps that no (image, channel, pixel) strides describe are copied, and the result laid out as f asks."""
    generator = torch.Generator().manual_seed(1)
    whole = make_map((2, 20, 9, 12), "nchw", torch.float32, generator)
    _, _, _, weight, bias = make_inputs((2, 20, 1, 1), torch.float32)
    crop, turned = whole[:, :, 2:7, 3:8], whole[:, :, :5, :5].contiguous().transpose(2, 3)
    grad = torch.ones(1, 1, 1, 1, device=DEVICE).expand(2, 20, 5, 5)
    inputs = (grad, crop, turned, weight, bias)
    assert kernels.span_attention_forward(crop, turned, weight, bias).stride() == turned.stride()
    assert {key: error for key, error in _errors(inputs).items() if not error <= 1e-6} == {}


def test_kernels_write_nothing_beside_their_results(monkeypatch):
    """Results inside larger memory: what lies before and behind stays."""
    canaries = []

    def inside(like, **kwargs):
        memory = torch.full((like.numel() + 64,), 7.0, device=like.device, dtype=like.dtype)
        canaries.append(memory)
        return memory[32:-32].view(like.shape).fill_(torch.nan)

    monkeypatch.setattr(torch, "empty_like", inside)
    inputs = make_inputs((3, 20, 3, 7), torch.float32)
    assert max(_errors(inputs).values()) <= 1e-6
    assert len(canaries) == 6
    for memory in canaries:
        assert (memory[:32] == 7).all()
        assert (memory[-32:] == 7).all()


def test_gradients_repeat_bit_by_bit():
    inputs = make_inputs((3, 28, 9, 11), torch.float32)
    first, second = _all_of(*inputs), _all_of(*inputs)
    for op in first:
        for one, other in zip(first[op], second[op], strict=True):
            assert torch.equal(one, other), op


def test_empty_maps_give_empty_results():
    grad, x, f, weight, bias = make_inputs((0, 16, 4, 4), torch.float32)
    found = _all_of(grad, x, f, weight, bias)
    assert [tuple(value.shape) for value in found["parameter_free_attention"]] == [
        (0, 16, 4, 4)
    ] * 3
    assert not found["span_attention"][3].any()
    assert not found["span_attention"][4].any()
