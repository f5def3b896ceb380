"""Figures of single operators in benchmarks/gpu/gpu.py: each a ratio of two things timed in turn, cold."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.gpu.rows import Check, Figure, Given, Row, each
from benchmarks.gpu.timing import Pair, copies, copy_gb_s, num_sets, pair_eager_ms, pair_ms, tf32
from nas.ops import backend
from nas.ops.conv_act import conv_act
from nas.ops.span_attention import parameter_free_attention, span_attention

TYPICAL, LARGE = (339, 510), (2048, 2048)
BACKENDS = ("cuda", "triton")
CONV_BACKEND = "triton"
SIDE = 8192  # of the matrices whose products are timed
CHANNELS_LAST = torch.channels_last
HALF, SINGLE = (torch.float16, "fp16"), (torch.float32, "fp32")


def kernels() -> tuple[str, ...]:
    """The backends of span_attention that serve here, the one that `auto` takes first."""
    return tuple(name for name in BACKENDS if _why_not(name) is None)


def _why_not(name: str) -> str | None:
    return backend.why_not(name, "span_attention", case=(32, torch.float32))


def random(*shape: int, dtype: torch.dtype = torch.float32, last: bool = False) -> Tensor:
    value = torch.randn(shape, device="cuda", dtype=torch.float32).to(dtype)
    return value.contiguous(memory_format=CHANNELS_LAST) if last else value


def attention_against_eager(given: Given) -> Iterator[Row]:
    """Fused op against conv1x1, add, multiply, in TF32 as the harness runs them, cold.

    Raises:
        RuntimeError: the op has no kernel here, so there is nothing to time.
    """
    if not kernels():
        reasons = [f"{name}: {_why_not(name)}" for name in BACKENDS]
        raise RuntimeError(f"span_attention has no kernel here: {'; '.join(reasons)}")
    yield from each(
        {
            f"{name} {channels}": lambda name=name, channels=channels: _over_eager(name, channels)
            for channels, name in itertools.product((32, 48), kernels())
        }
    )


def _over_eager(name: str, channels: int) -> Iterator[Row]:
    sets = [
        (random(1, channels, *TYPICAL), random(1, channels, *TYPICAL))
        for _ in range(num_sets(12 * channels * TYPICAL[0] * TYPICAL[1]))
    ]
    weight, bias = random(channels, channels, 1, 1), random(channels)
    with backend.using(name), tf32(True), torch.no_grad():
        fused = [lambda x=x, f=f: span_attention(x, f, weight, bias) for x, f in sets]
        eager = [lambda x=x, f=f: (x + f) * F.conv2d(f, weight, bias) for x, f in sets]
        yield _alike(f"span_attention ({name}), {channels} channels", fused[0](), eager[0]())
        pair = pair_ms(eager, fused)
    yield _figure(
        f"span_attention ({name}), 1x{channels}x339x510 fp32, cold, over conv1x1 + add + mul",
        pair,
        demand=2.8 if channels == 32 else None,
        hoped=3.3 if channels == 32 else None,
    )


def _alike(name: str, found: Tensor, wanted: Tensor) -> Check:
    """A small check of its own before a figure: 2e-3 is TF32's error, not a fault's."""
    error = ((found - wanted).abs().max() / wanted.abs().max()).item()
    return Check(
        name=f"{name} against eager", words=f"{error:.2g} of 0.002", is_wrong=not error <= 2e-3
    )


def _figure(
    name: str, pair: Pair, *, demand: float | None = None, hoped: float | None = None
) -> Figure:
    return Figure(
        name=name,
        value=pair.ratio,
        demand=demand,
        hoped=hoped,
        low=pair.low,
        high=pair.high,
        sm_mhz=pair.sm_mhz,
        note=f"{1e3 * pair.second_ms:.1f} us against {1e3 * pair.first_ms:.1f} us",
    )


def attention_bandwidth(given: Given) -> Iterator[Row]:
    """The rates of this GPU, then bytes that have to move (three maps) a second over those of a copy."""
    tasks: dict[str, Callable[[], Iterator[Row]]] = {"rates": _rates}
    first, *others = kernels() or ("none",)
    sizes, layouts = (LARGE, TYPICAL), (False, True)
    for channels, kind, size, last in itertools.product((32, 64), (SINGLE, HALF), sizes, layouts):
        tasks[f"{first} {channels} {kind[1]} {size} {last}"] = (
            lambda case=(channels, kind, size, last): _over_copy(first, *case)
        )
    for name, kind, size in itertools.product(others, (SINGLE, HALF), sizes):
        tasks[f"{name} {kind[1]} {size}"] = lambda case=(name, 32, kind, size, False): _over_copy(
            *case
        )
    yield from each(tasks)


def _rates() -> Iterator[Figure]:
    """Of copies and of matrix products, what the other figures are measured by."""
    for num_bytes in (2**30, 2**26):
        yield Figure(
            name=f"copy of {num_bytes // 2**20} MiB, read and written, cold",
            value=copy_gb_s(num_bytes),
            unit="GB/s",
        )
    side = SIDE
    for dtype, word in ((torch.float16, "fp16"), (torch.bfloat16, "bf16"), (torch.float32, "TF32")):
        a, b = (random(side, side, dtype=dtype) for _ in range(2))
        matmul: Any = torch.backends.cuda.matmul
        before, matmul.fp32_precision = matmul.fp32_precision, "tf32"
        try:
            pair = pair_eager_ms(lambda a=a, b=b: a @ b, lambda a=a, b=b: a @ b, rounds=5)
        finally:
            matmul.fp32_precision = before
        yield Figure(
            name=f"product of {side}x{side} matrices in {word}",
            value=2 * side**3 / pair.first_ms / 1e9,
            unit="TFLOP/s",
            sm_mhz=pair.sm_mhz,
        )


def _over_copy(
    name: str, channels: int, kind: tuple[torch.dtype, str], size: tuple[int, int], last: bool
) -> Iterator[Figure]:
    (dtype, word), (height, width) = kind, size
    num_bytes = 3 * channels * height * width * dtype.itemsize
    maps = [
        tuple(random(1, channels, height, width, dtype=dtype, last=last) for _ in range(2))
        for _ in range(num_sets(num_bytes))
    ]
    weight, bias = random(channels, channels, 1, 1, dtype=dtype), random(channels, dtype=dtype)
    with backend.using(name), torch.no_grad():
        calls = [lambda x=x, f=f: span_attention(x, f, weight, bias) for x, f in maps]
        pair = pair_ms(copies(num_bytes), calls, rounds=7)
    is_large = size == LARGE
    yield _figure(
        f"bandwidth of span_attention ({name}), {channels}x{height}x{width} {word} "
        f"{'channels_last' if last else 'NCHW'}, over copy",
        pair,
        demand=0.80 if is_large else 0.65,
        hoped=0.92 if is_large else 0.80,
    )


def attention_training(given: Given) -> Iterator[Row]:
    """Forward and backward against eager autograd, and the memory that is kept between them."""
    forms = {
        "span_attention": (span_attention, lambda x, f, w, b: (x + f) * F.conv2d(f, w, b)),
        "parameter_free_attention": (
            lambda x, f, w, b: parameter_free_attention(x, f),
            lambda x, f, w, b: (x + f) * (torch.sigmoid(f) - 0.5),
        ),
    }
    yield from each({word: lambda word=word: _training(word, *forms[word]) for word in forms})


def _training(
    word: str, fused: Callable[..., Tensor], eager: Callable[..., Tensor], channels: int = 32
) -> Iterator[Figure]:
    operands = [random(8, channels, 128, 128), random(8, channels, 128, 128)]
    operands += [random(channels, channels, 1, 1), random(channels)]
    for value in operands:
        value.requires_grad_()
    wanted = operands if word == "span_attention" else operands[:2]
    grad = torch.randn_like(operands[0])

    def train(forward: Callable[..., Tensor]) -> Any:
        return torch.autograd.grad(forward(*operands), wanted, grad)

    def kept(forward: Callable[..., Tensor]) -> int:
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        out = forward(*operands)
        found = torch.cuda.memory_allocated() - before
        del out
        return found

    with tf32(True):
        pair = pair_eager_ms(lambda: train(eager), lambda: train(fused))
        yield _figure(
            f"{word} forward and backward, 8x32x128x128 fp32, over eager autograd",
            pair,
            demand=2.0,
            hoped=2.7,
        )
        yield Figure(
            name=f"{word}: memory kept for the backward pass, the result included, over eager",
            value=kept(fused) / max(1, kept(eager)),
            demand=0.55,
            higher=False,
        )


def conv_act_against_cudnn(given: Given) -> Iterator[Row]:
    """3x3 and ReLU: against the better of cuDNN's layouts followed by the activation."""
    cases = itertools.product(
        ((*HALF, 1.3, 1.8), (torch.float32, "TF32", None, None)), (32, 28, 48)
    )
    yield from each(
        {f"{kind[1]} {channels}": lambda kind=kind, channels=channels: _over_cudnn(kind, channels)
         for kind, channels in cases}
    )  # fmt: skip


def _over_cudnn(
    kind: tuple[torch.dtype, str, float | None, float | None], channels: int
) -> Iterator[Row]:
    dtype, word, demand, hoped = kind
    num_bytes = 2 * channels * TYPICAL[0] * TYPICAL[1] * dtype.itemsize
    images = [
        random(1, channels, *TYPICAL, dtype=dtype, last=True) for _ in range(num_sets(num_bytes))
    ]
    planes = [image.contiguous() for image in images]
    weight = random(channels, channels, 3, 3, dtype=dtype) / (3 * channels**0.5)
    bias = random(channels, dtype=dtype)
    rows = weight.contiguous(memory_format=CHANNELS_LAST)
    for benchmark in (False, True):
        # By name: `auto` would time cuDNN against itself where the kernel does not run.
        with tf32(True), torch.no_grad(), _benchmark(benchmark), backend.using(CONV_BACKEND):
            fused = [
                lambda x=x: conv_act(x, rows, bias, "relu") for x in images
            ]  # as ConvAct holds it
            last = [lambda x=x: F.relu_(F.conv2d(x, rows, bias, padding=1)) for x in images]
            first = [lambda x=x: F.relu_(F.conv2d(x, weight, bias, padding=1)) for x in planes]
            if not benchmark:
                yield _alike(
                    f"conv_act {word}, {channels} channels", fused[0]().float(), last[0]().float()
                )
            pairs = {"channels_last": pair_ms(last, fused), "NCHW": pair_ms(first, fused)}
        layout, pair = min(pairs.items(), key=lambda item: item[1].ratio)
        is_asked = channels == 32 and not benchmark
        yield _figure(
            f"conv_act 3x3 ReLU, {channels} channels {word} 339x510, over cuDNN's better layout ({layout}), "
            f"benchmark {'on' if benchmark else 'off'}",
            pair,
            demand=demand if is_asked else None,
            hoped=hoped if is_asked else None,
        )


@contextmanager
def _benchmark(on: bool) -> Iterator[None]:
    """cuDNN times its algorithms before it chooses, or does not, as in the challenge's harness."""
    cudnn: Any = torch.backends.cudnn
    before, cudnn.benchmark = cudnn.benchmark, on
    try:
        yield
    finally:
        cudnn.benchmark = before
