"""Right before fast: every kernel of this machine against float64, on random inputs and odd sizes."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from gpu_figures import network, spanv2
from torch import Tensor
from torch.nn import functional as F

from nas.deploy import Runner
from nas.ops import backend
from nas.ops.conv_act import ATTENTIONS, EPILOGUES, conv_act
from nas.ops.span_attention import parameter_free_attention, span_attention
from search_spaces.official import load_official

SHAPES = ((1, 1, 1), (1, 7, 13), (3, 33, 47), (1, 64, 64))
CHANNELS = (3, 16, 20, 24, 28, 32, 48, 52, 64)
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
TOLERANCE = {torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}  # at least; of the largest value
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "NCHW": lambda x: x,
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "slice": lambda x: torch.cat([x, x], 1)[:, : x.shape[1]],
}


def run(device: torch.device) -> dict[str, str]:
    """Check every operator with every backend; what is wrong, or could not be checked, is said."""
    found: dict[str, str] = {}
    torch.manual_seed(0)
    for name in ("reference", "triton", "cuda"):
        for op, cases in (("span_attention", _attention), ("conv_act", _convolutions)):
            reason = backend.why_not(name, op, device=device, case=(32, torch.float32))
            found[f"{op}, {name}"] = f"not checked: {reason}" if reason else _worst(cases(device), name)
    found["SPANV2 through the runner"] = _worst(_networks(device), "auto")
    return found


def listed(checks: dict[str, str]) -> str:
    return "\n".join(f"- {name}: {words}" for name, words in checks.items())


def released(path: Path | None) -> Any:
    """The state of a released SPANV2, by our names; None without a file."""
    if path is None:
        return None
    net = network(spanv2()).cpu()
    load_official(net, path)
    return net.state_dict()


def _worst(cases: Iterator[tuple[str, float, float]], name: str) -> str:
    """The case that is closest to, or furthest over, what it may be wrong by."""
    worst, count = ("", 0.0, 1.0), 0
    with backend.using(name), torch.no_grad():
        for case in cases:
            count += 1
            if not case[1] / case[2] <= worst[1] / worst[2]:  # NaN is the worst
                worst = case
    words = f"{count} cases, worst {worst[0]}: {worst[1]:.2g} of {worst[2]:.2g}"
    return words if worst[1] <= worst[2] else f"WRONG: {words}"


def _attention(device: torch.device) -> Iterator[tuple[str, float, float]]:
    for channels, (n, h, w), dtype, layout in itertools.product(CHANNELS, SHAPES, DTYPES, LAYOUTS):
        x, f = (LAYOUTS[layout](torch.randn(n, channels, h, w, device=device).to(dtype)) for _ in range(2))
        weight = torch.randn(channels, channels, 1, 1, device=device).to(dtype)
        bias = torch.randn(channels, device=device).to(dtype)
        case = f"{channels}x{h}x{w} batch {n} {str(dtype).removeprefix('torch.')} {layout}"

        def learned(x: Tensor, f: Tensor, w: Tensor, b: Tensor) -> Tensor:
            return (x + f) * F.conv2d(f, w, b)

        def free(x: Tensor, f: Tensor) -> Tensor:
            return (x + f) * (torch.sigmoid(f) - 0.5)

        yield (case, *_errors(span_attention, learned, (x, f, weight, bias), dtype))
        yield (f"{case}, parameter-free", *_errors(parameter_free_attention, free, (x, f), dtype))


def _convolutions(device: torch.device) -> Iterator[tuple[str, float, float]]:
    widths = ((3, 32), (28, 28), (32, 32), (48, 48), (20, 48), (52, 52))
    for (inner, channels), (n, h, w), dtype, epilogue in itertools.product(
        widths, SHAPES[1:3], DTYPES[:2], EPILOGUES
    ):
        x = torch.randn(n, inner, h, w, device=device).to(dtype).contiguous(memory_format=torch.channels_last)
        weight = (torch.randn(channels, inner, 3, 3, device=device) / (3 * inner**0.5)).to(dtype)
        bias = torch.randn(channels, device=device).to(dtype)
        extra: list[Tensor | None] = [None, None, None]
        if epilogue in ATTENTIONS:
            extra[0] = torch.randn(n, channels, h, w, device=device).to(dtype)
        if epilogue in ("conv1x1", "diagonal"):
            rows = channels if epilogue == "conv1x1" else 1
            extra[1] = (torch.randn(channels, rows, 1, 1, device=device) / rows**0.5).to(dtype)
            extra[2] = torch.randn(channels, device=device).to(dtype)

        def ours(*given: Any) -> Tensor:
            return conv_act(*given[:3], epilogue, *given[3:])

        def plain(*given: Any) -> Tensor:
            with backend.using("reference"):
                return conv_act(*given[:3], epilogue, *given[3:])

        case = f"{inner}->{channels} {h}x{w} {str(dtype).removeprefix('torch.')} {epilogue}"
        yield (case, *_errors(ours, plain, (x, weight, bias, *extra), dtype))


def _networks(device: torch.device) -> Iterator[tuple[str, float, float]]:
    net = network(spanv2())
    exact = network(spanv2()).double()
    for precision, shape in itertools.product(("fp32", "tf32", "fp16"), ((1, 3, 31, 47), (2, 3, 64, 64))):
        image = torch.rand(shape, device=device)
        wanted = exact(image.double())
        found = Runner(net, precision=precision, trial={})(image)
        allowed = {"fp32": 1e-5, "tf32": 5e-3, "fp16": 5e-3}[precision]
        error = (found.double() - wanted).abs().max() / wanted.abs().max()
        yield (f"{precision} {tuple(shape)}", error.item(), allowed)


def _errors(
    ours: Callable[..., Tensor], plain: Callable[..., Tensor], given: tuple[Any, ...], dtype: torch.dtype
) -> tuple[float, float]:
    """Our largest error against float64, and what is allowed: twice PyTorch's own in this dtype."""
    cudnn: Any = torch.backends.cudnn
    before, cudnn.conv.fp32_precision = cudnn.conv.fp32_precision, "ieee"
    try:
        exact = plain(*(value.double() if value is not None else None for value in given))
        found, usual = ours(*given).double(), plain(*given).double()
    finally:
        cudnn.conv.fp32_precision = before
    size = exact.abs().max()
    error, own = ((value - exact).abs().max() / size for value in (found, usual))
    return error.item(), max(2 * own.item(), TOLERANCE[dtype])
