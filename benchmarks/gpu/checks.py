"""Right before fast: every kernel of this machine against float64, on random inputs and odd sizes."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.gpu.networks import network, released, spanv2
from benchmarks.gpu.rows import Check, Given
from benchmarks.gpu.timing import tf32
from nas.deploy import Runner
from nas.ops import backend
from nas.ops.conv_act import ATTENTIONS, EPILOGUES, conv_act
from nas.ops.span_attention import parameter_free_attention, span_attention

# Batch, height, width: a pixel, less than a tile, a ragged batch, whole tiles, more columns than two tiles.
SHAPES = ((1, 1, 1), (1, 7, 13), (3, 33, 47), (1, 64, 64), (1, 37, 131))
CHANNELS = (3, 16, 20, 24, 28, 32, 48, 52, 64)
WIDTHS = ((32, 32), (3, 32), (28, 28), (48, 48), (20, 48), (52, 52))
# With every epilogue; the others with a few, as what follows a sum does not ask for its width, and so slices,
# which are compiled anew, and bfloat16, which no network here uses.
FULL = WIDTHS[:2]
FEW = ("relu", "conv1x1", "residual")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """How a kernel computes, and how far it may be off at least, as a share of the largest value."""

    dtype: torch.dtype
    tf32: bool  # of float32 convolutions
    tolerance: float


PRECISIONS = {
    "strict": Precision(dtype=torch.float32, tf32=False, tolerance=2e-6),
    "TF32": Precision(dtype=torch.float32, tf32=True, tolerance=5e-4),
    "fp16": Precision(dtype=torch.float16, tf32=True, tolerance=1e-3),
    "bf16": Precision(dtype=torch.bfloat16, tf32=True, tolerance=8e-3),
}


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "NCHW": lambda x: x,
    "channels_last": _last,
    "slice": lambda x: torch.cat([x, x], 1)[:, : x.shape[1]],
    "unaligned slice": lambda x: _last(torch.cat([x[:, :1].expand(-1, 3, -1, -1), x], 1))[:, 3:],
}
CONVOLVED = {  # every shape in a layout of its own
    (1, 7, 13): "NCHW",
    (3, 33, 47): "unaligned slice",
    (1, 37, 131): "channels_last",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An operator on operands, and the plain form that it has to agree with."""

    name: str
    ours: Callable[..., Tensor]
    plain: Callable[..., Tensor]
    operands: tuple[Any, ...]
    precision: Precision


def check_all(given: Given) -> Iterator[Check]:
    """Check every operator with every backend; what is wrong, or could not be checked, is said."""
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    torch.manual_seed(0)
    for name in ("reference", "triton", "cuda"):
        reason = backend.why_not(name, "span_attention", device=device, case=(32, torch.float32))
        yield _verdict(f"span_attention, {name}", reason, _judged(attention_cases(device), name))
    for name, (word, precision) in itertools.product(("reference", "triton"), PRECISIONS.items()):
        reason = backend.why_not(name, "conv_act", device=device)
        yield _verdict(
            f"conv_act, {name}, {word}", reason, _judged(convolution_cases(device, precision), name)
        )
    yield _verdict("SPANV2 through the runner", None, _networks(device, given))


def attention_cases(device: torch.device) -> Iterator[Case]:
    precisions = [PRECISIONS[word] for word in ("strict", "fp16", "bf16")]
    for channels, (n, h, w), precision, layout in itertools.product(
        CHANNELS, SHAPES, precisions, LAYOUTS
    ):
        dtype = precision.dtype
        x, f = (
            LAYOUTS[layout](torch.randn(n, channels, h, w, device=device).to(dtype))
            for _ in range(2)
        )
        weight = torch.randn(channels, channels, 1, 1, device=device).to(dtype)
        bias = torch.randn(channels, device=device).to(dtype)
        name = f"{channels}x{h}x{w} batch {n} {str(dtype).removeprefix('torch.')} {layout}"
        yield Case(
            name=name,
            ours=span_attention,
            plain=lambda x, f, w, b: (x + f) * F.conv2d(f, w, b),
            operands=(x, f, weight, bias),
            precision=precision,
        )
        yield Case(
            name=f"{name}, parameter-free",
            ours=parameter_free_attention,
            plain=lambda x, f: (x + f) * (torch.sigmoid(f) - 0.5),
            operands=(x, f),
            precision=precision,
        )


def convolution_cases(device: torch.device, precision: Precision) -> Iterator[Case]:
    dtype = precision.dtype
    for widths, ((n, h, w), layout) in itertools.product(WIDTHS, CONVOLVED.items()):
        inner, channels = widths
        is_full = widths in FULL and layout != "unaligned slice" and dtype != torch.bfloat16
        for epilogue in EPILOGUES if is_full else FEW:
            x = LAYOUTS[layout](torch.randn(n, inner, h, w, device=device).to(dtype))
            weight = (torch.randn(channels, inner, 3, 3, device=device) / (3 * inner**0.5)).to(
                dtype
            )
            bias = torch.randn(channels, device=device).to(dtype)
            extra: list[Tensor | None] = [None, None, None]
            if epilogue in ATTENTIONS:
                extra[0] = LAYOUTS[layout](torch.randn(n, channels, h, w, device=device).to(dtype))
            if epilogue in ("conv1x1", "diagonal"):
                rows = channels if epilogue == "conv1x1" else 1
                extra[1] = (torch.randn(channels, rows, 1, 1, device=device) / rows**0.5).to(dtype)
                extra[2] = torch.randn(channels, device=device).to(dtype)

            def ours(*given: Any, epilogue: str = epilogue) -> Tensor:
                return conv_act(*given[:3], epilogue, *given[3:])

            def plain(*given: Any, epilogue: str = epilogue) -> Tensor:
                with backend.using("reference"):
                    return conv_act(*given[:3], epilogue, *given[3:])

            yield Case(
                name=f"{inner}->{channels} {h}x{w} batch {n} {epilogue} {layout}",
                ours=ours,
                plain=plain,
                operands=(x, weight, bias, *extra),
                precision=precision,
            )


def errors(case: Case) -> tuple[float, float]:
    """Our largest error against float64, and what is allowed: twice PyTorch's own in this precision.

    Memory that nobody wrote holds NaN: a result that a kernel left to chance is wrong for certain.
    """
    exact = case.plain(*(value.double() if value is not None else None for value in case.operands))
    with tf32(case.precision.tf32):
        usual = case.plain(*case.operands).double()
        with poisoned():
            found = case.ours(*case.operands).double()
    size = exact.abs().max()
    error, own = ((value - exact).abs().max() / size for value in (found, usual))
    return error.item(), max(2 * own.item(), case.precision.tolerance)


@contextmanager
def poisoned() -> Iterator[None]:
    """PyTorch fills what `empty` gives with NaN, on any device."""
    before = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)


def _judged(cases: Iterator[Case], name: str) -> Iterator[tuple[str, float, float]]:
    with backend.using(name), torch.no_grad():
        for case in cases:
            yield (case.name, *errors(case))


def _verdict(name: str, reason: str | None, cases: Iterator[tuple[str, float, float]]) -> Check:
    """The case that is closest to, or furthest over, what it may be wrong by."""
    if reason is not None:
        return Check(name=name, words=f"not checked: {reason}")
    worst, count = ("", 0.0, 1.0), 0
    for case in cases:
        count += 1
        if not case[1] / case[2] <= worst[1] / worst[2]:  # NaN is the worst
            worst = case
    words = f"{count} cases, worst {worst[0]}: {worst[1]:.2g} of {worst[2]:.2g}"
    return Check(name=name, words=words, is_wrong=not worst[1] <= worst[2])


def _networks(device: torch.device, given: Given) -> Iterator[tuple[str, float, float]]:
    net = network(spanv2(), released(given.weights))
    exact = network(spanv2(), released(given.weights)).double()
    for precision, allowed in (("fp32", 1e-5), ("tf32", 5e-3), ("fp16", 5e-3)):
        runner = Runner(net, precision=precision, trial={})
        for shape in ((1, 3, 31, 47), (2, 3, 64, 64), (1, 3, 37, 131)):
            image = torch.rand(shape, device=device)
            with torch.no_grad():
                wanted = exact(image.double())
            error = (runner(image).double() - wanted).abs().max() / wanted.abs().max()
            yield (f"{precision} {tuple(shape)}", error.item(), allowed)
