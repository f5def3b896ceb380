"""How fast are single operators? Sections of gpu.py: ratios of two things timed in turn, cold."""

import functools
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.gpu.rows import Check, Figure, Given, Row, run_tasks
from benchmarks.gpu.timing import (
    Pair,
    count_sets,
    make_copies,
    measure_copy_gb_s,
    time_eager_pair,
    time_pair,
    use_tf32,
)
from nas.ops import backend
from nas.ops.conv_act import conv_act
from nas.ops.span_attention import parameter_free_attention, span_attention

TYPICAL, LARGE = (339, 510), (2048, 2048)
BACKENDS = ("cuda", "triton")
CONV_BACKEND = "triton"
SIDE = 8192  # of the matrices whose products are timed
TRAINED = (8, 32, 128, 128)  # map of the forward and backward passes
CHANNELS_LAST = torch.channels_last
HALF, SINGLE = (torch.float16, "fp16"), (torch.float32, "fp32")


def list_kernels() -> tuple[str, ...]:
    """Return the backends of span_attention that serve here; the first is what `auto` takes."""
    return tuple(name for name in BACKENDS if _explain_absence(name) is None)


def _explain_absence(name: str) -> str | None:
    return backend.why_not(name, "span_attention", case=(32, torch.float32))


def make_random(*shape: int, dtype: torch.dtype = torch.float32, last: bool = False) -> Tensor:
    """Return normal noise on the GPU; `last`: in channels_last."""
    value = torch.randn(shape, device="cuda", dtype=torch.float32).to(dtype)
    return value.contiguous(memory_format=CHANNELS_LAST) if last else value


def measure_attention_over_eager(given: Given) -> Iterator[Row]:
    """Time the fused op against conv1x1, add and multiply, in TF32 as the harness runs them, cold.

    Raises:
        RuntimeError: the op has no kernel here, so there is nothing to time.
    """
    if not list_kernels():
        reasons = [f"{name}: {_explain_absence(name)}" for name in BACKENDS]
        raise RuntimeError(f"span_attention has no kernel here: {'; '.join(reasons)}")
    yield from run_tasks(
        {
            f"{name} {channels}": functools.partial(_measure_over_eager, name, channels)
            for channels, name in itertools.product((32, 48), list_kernels())
        }
    )


def _measure_over_eager(name: str, channels: int) -> Iterator[Row]:
    sets = [
        (make_random(1, channels, *TYPICAL), make_random(1, channels, *TYPICAL))
        for _ in range(count_sets(12 * channels * TYPICAL[0] * TYPICAL[1]))
    ]
    weight, bias = make_random(channels, channels, 1, 1), make_random(channels)

    # Agreement first: a fast kernel that computes something else is no figure.
    with backend.using(name), use_tf32(True), torch.no_grad():
        fused = [lambda x=x, f=f: span_attention(x, f, weight, bias) for x, f in sets]
        eager = [lambda x=x, f=f: (x + f) * F.conv2d(f, weight, bias) for x, f in sets]
        yield _check_agreement(
            f"span_attention ({name}), {channels} channels", fused[0](), eager[0]()
        )
        pair = time_pair(eager, fused)

    yield _make_figure(
        f"span_attention ({name}), 1x{channels}x339x510 fp32, cold, over conv1x1 + add + mul",
        pair,
        demand=2.8 if channels == 32 else None,
        hoped=3.3 if channels == 32 else None,
    )


def _check_agreement(name: str, ours: Tensor, eager: Tensor) -> Check:
    """Compare two results before they are timed: 2e-3 is TF32's error, not a fault's."""
    error = ((ours - eager).abs().max() / eager.abs().max()).item()
    return Check(
        name=f"{name} against eager", words=f"{error:.2g} of 0.002", is_wrong=not error <= 2e-3
    )


def _make_figure(
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


def measure_attention_bandwidth(given: Given) -> Iterator[Row]:
    """Measure the rates of this GPU, then the operator's bytes a second over those of a copy.

    Its bytes are the three maps that have to move: two are read, one is written.
    """
    tasks: dict[str, Callable[[], Iterator[Row]]] = {"rates": _measure_rates}
    first, *others = list_kernels() or ("none",)

    # The first backend in every layout, the others in NCHW with 32 channels.
    sizes, layouts = (LARGE, TYPICAL), (False, True)
    for channels, kind, size, last in itertools.product((32, 64), (SINGLE, HALF), sizes, layouts):
        tasks[f"{first} {channels} {kind[1]} {size} {last}"] = functools.partial(
            _measure_over_copy, first, channels, kind, size, last
        )
    for name, kind, size in itertools.product(others, (SINGLE, HALF), sizes):
        tasks[f"{name} {kind[1]} {size}"] = functools.partial(
            _measure_over_copy, name, 32, kind, size, False
        )
    yield from run_tasks(tasks)


def _measure_rates() -> Iterator[Figure]:
    """Measure the rates of copies and of matrix products, which the other figures stand beside."""
    for num_bytes in (2**30, 2**26):
        yield Figure(
            name=f"copy of {num_bytes // 2**20} MiB, read and written, cold",
            value=measure_copy_gb_s(num_bytes),
            unit="GB/s",
        )

    side = SIDE
    for dtype, word in ((torch.float16, "fp16"), (torch.bfloat16, "bf16"), (torch.float32, "TF32")):
        a, b = (make_random(side, side, dtype=dtype) for _ in range(2))

        # float32 products are in TF32, as PyTorch's convolutions are by default.
        matmul: Any = torch.backends.cuda.matmul
        before, matmul.fp32_precision = matmul.fp32_precision, "tf32"
        try:
            pair = time_eager_pair(lambda a=a, b=b: a @ b, lambda a=a, b=b: a @ b, rounds=5)
        finally:
            matmul.fp32_precision = before
        yield Figure(
            name=f"product of {side}x{side} matrices in {word}",
            value=2 * side**3 / pair.first_ms / 1e9,  # a product and a sum each
            unit="TFLOP/s",
            sm_mhz=pair.sm_mhz,
        )


def _measure_over_copy(
    name: str, channels: int, kind: tuple[torch.dtype, str], size: tuple[int, int], last: bool
) -> Iterator[Figure]:
    (dtype, word), (height, width) = kind, size
    num_bytes = 3 * channels * height * width * dtype.itemsize
    maps = [
        tuple(make_random(1, channels, height, width, dtype=dtype, last=last) for _ in range(2))
        for _ in range(count_sets(num_bytes))
    ]
    weight, bias = (
        make_random(channels, channels, 1, 1, dtype=dtype),
        make_random(channels, dtype=dtype),
    )

    with backend.using(name), torch.no_grad():
        calls = [lambda x=x, f=f: span_attention(x, f, weight, bias) for x, f in maps]
        pair = time_pair(make_copies(num_bytes), calls, rounds=7)

    is_large = size == LARGE
    yield _make_figure(
        f"bandwidth of span_attention ({name}), {channels}x{height}x{width} {word} "
        f"{'channels_last' if last else 'NCHW'}, over copy",
        pair,
        demand=0.80 if is_large else 0.65,
        hoped=0.92 if is_large else 0.80,
    )


def measure_attention_training(given: Given) -> Iterator[Row]:
    """Time forward and backward against eager autograd; weigh the memory kept between them."""
    forms = {
        "span_attention": (span_attention, lambda x, f, w, b: (x + f) * F.conv2d(f, w, b)),
        "parameter_free_attention": (
            lambda x, f, w, b: parameter_free_attention(x, f),
            lambda x, f, w, b: (x + f) * (torch.sigmoid(f) - 0.5),
        ),
    }
    yield from run_tasks(
        {word: lambda word=word: _measure_training(word, *forms[word]) for word in forms}
    )


def _measure_training(
    word: str, fused: Callable[..., Tensor], eager: Callable[..., Tensor]
) -> Iterator[Figure]:
    channels = TRAINED[1]
    operands = [make_random(*TRAINED), make_random(*TRAINED)]
    operands += [make_random(channels, channels, 1, 1), make_random(channels)]
    for value in operands:
        value.requires_grad_()
    inputs = operands if word == "span_attention" else operands[:2]  # the other has no weights
    grad = torch.randn_like(operands[0])

    def train(forward: Callable[..., Tensor]) -> Any:
        return torch.autograd.grad(forward(*operands), inputs, grad)

    def weigh_forward(forward: Callable[..., Tensor]) -> int:
        """Return the bytes that a forward leaves allocated."""
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        out = forward(*operands)
        num_bytes = torch.cuda.memory_allocated() - before
        del out
        return num_bytes

    with use_tf32(True):
        pair = time_eager_pair(lambda: train(eager), lambda: train(fused))
        yield _make_figure(
            f"{word} forward and backward, 8x32x128x128 fp32, over eager autograd",
            pair,
            demand=2.0,
            hoped=2.7,
        )
        yield Figure(
            name=f"{word}: memory kept for the backward pass, the result included, over eager",
            value=weigh_forward(fused) / max(1, weigh_forward(eager)),
            demand=0.55,
            higher=False,
        )


def measure_conv_act_over_cudnn(given: Given) -> Iterator[Row]:
    """Time 3x3 and ReLU against the better of cuDNN's layouts followed by the activation."""
    # (dtype, its name, demand, hoped): TF32 has no demand.
    cases = itertools.product(
        ((*HALF, 1.3, 1.8), (torch.float32, "TF32", None, None)), (32, 28, 48)
    )
    yield from run_tasks(
        {
            f"{kind[1]} {channels}": functools.partial(_measure_over_cudnn, kind, channels)
            for kind, channels in cases
        }
    )


def _measure_over_cudnn(
    kind: tuple[torch.dtype, str, float | None, float | None], channels: int
) -> Iterator[Row]:
    dtype, word, demand, hoped = kind

    # The same images and weights in both layouts.
    num_bytes = 2 * channels * TYPICAL[0] * TYPICAL[1] * dtype.itemsize
    images = [
        make_random(1, channels, *TYPICAL, dtype=dtype, last=True)
        for _ in range(count_sets(num_bytes))
    ]
    planes = [image.contiguous() for image in images]
    weight = make_random(channels, channels, 3, 3, dtype=dtype) / (3 * channels**0.5)
    bias = make_random(channels, dtype=dtype)
    rows = weight.contiguous(memory_format=CHANNELS_LAST)  # as ConvAct holds it

    for benchmark in (False, True):
        # By name: `auto` would time cuDNN against itself where the kernel does not run.
        with (
            use_tf32(True),
            torch.no_grad(),
            _set_cudnn_benchmark(benchmark),
            backend.using(CONV_BACKEND),
        ):
            fused = [lambda x=x: conv_act(x, rows, bias, "relu") for x in images]
            last = [lambda x=x: F.relu_(F.conv2d(x, rows, bias, padding=1)) for x in images]
            first = [lambda x=x: F.relu_(F.conv2d(x, weight, bias, padding=1)) for x in planes]
            if not benchmark:
                yield _check_agreement(
                    f"conv_act {word}, {channels} channels", fused[0]().float(), last[0]().float()
                )

            pairs = {"channels_last": time_pair(last, fused), "NCHW": time_pair(first, fused)}

        layout, pair = min(pairs.items(), key=lambda item: item[1].ratio)
        is_asked = channels == 32 and not benchmark
        yield _make_figure(
            f"conv_act 3x3 ReLU, {channels} channels {word} 339x510, over cuDNN's better layout "
            f"({layout}), benchmark {'on' if benchmark else 'off'}",
            pair,
            demand=demand if is_asked else None,
            hoped=hoped if is_asked else None,
        )


@contextmanager
def _set_cudnn_benchmark(on: bool) -> Iterator[None]:
    """Let cuDNN time its algorithms before it chooses, or not, as in the challenge's harness."""
    cudnn: Any = torch.backends.cudnn
    before, cudnn.benchmark = cudnn.benchmark, on
    try:
        yield
    finally:
        cudnn.benchmark = before
