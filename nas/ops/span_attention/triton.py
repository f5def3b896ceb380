"""Launches the Triton kernels: any channel count, batch, strides and size, forward and backward.

float32 products take three TF32 passes (`tf32x3`, as exact as float32); those of float16 and bfloat16 are
exact, and where the backward multiplies a float32 intermediate it uses TF32, which has float16's precision
without its range.
"""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from nas.ops.backend import Case, interpreting
from nas.ops.prepared import Arguments, Repeat, is_aligned, repeat
from nas.ops.span_attention import triton_kernels as kernels
from nas.ops.span_attention.config import Tile, tile
from nas.ops.span_attention.layout import Map, flatten, is_flat

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
SHARES_PER_MULTIPROCESSOR = 4  # programs that share the pixels of dW
# Products and sums in one rounding; said at each launch: Triton 3.10 changes its default.
FUSED = True
FLAT = Tile(pixels=1024, channels=1, warps=4)  # element-wise kernels on maps of one layout
TILED = Tile(pixels=64, channels=16, warps=4)


class Launched(NamedTuple):
    """A launch that was made: Triton's compiled kernel, its grid, and its arguments after the tensors."""

    kernel: Any
    grid: tuple[int, int]
    rest: tuple[Any, ...]


def why_not(op: str, device: torch.device, case: Case) -> str | None:
    """Say why an operator cannot run here, or run it once on one pixel: what that raises is a reason too."""
    if case is None:
        case = (16, torch.float32)
    assert isinstance(case, tuple)
    channels, dtype = case
    if dtype not in DTYPES:
        return f"no kernel for {dtype}; there are float32, float16 and bfloat16"
    x = torch.zeros(1, channels, 1, 1, dtype=dtype, device=device)
    weight, bias = x.new_zeros(channels, channels, 1, 1), x.new_zeros(channels)
    trials: dict[str, Callable[[], Any]] = {
        "span_attention": lambda: span_attention_forward(x, x, weight, bias),
        "span_attention_backward": lambda: span_attention_backward(x, x, x, weight, bias),
        "parameter_free_attention": lambda: parameter_free_attention_forward(x, x),
        "parameter_free_attention_backward": lambda: parameter_free_attention_backward(x, x, x),
    }
    trials[op]()
    return None


def span_attention_forward(x: Tensor, f: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(x + f) * (W f + b) in the layout of f."""
    out = torch.empty_like(f)
    if not is_flat(out):
        return out.copy_(span_attention_forward(x, f.contiguous(), weight, bias))
    shape = tile("forward", f.shape[1], f.element_size())
    _launch(
        kernels.forward, shape, (x, f), (_matrix(weight), bias.contiguous()), (out,), _precision(f)
    )
    return out


def parameter_free_attention_forward(x: Tensor, f: Tensor) -> Tensor:
    """(x + f) * (sigmoid(f) - 0.5) in the layout of f."""
    out = torch.empty_like(f)
    if not is_flat(out):
        return out.copy_(parameter_free_attention_forward(x, f.contiguous()))
    _launch_elementwise(kernels.parameter_free, (x, f), (out,))
    return out


def prepare(x: Tensor, f: Tensor, weight: Tensor | None, bias: Tensor | None) -> Repeat | None:
    """The launch of an attention (without a weight: SPAN's), to be made again; None: it copies a map."""
    out = torch.empty_like(f)
    own: tuple[Tensor, ...] = ()
    if not (is_flat(x) and is_flat(f) and is_flat(out) and is_aligned(x, f, out)):
        return None
    if weight is None or bias is None:
        launched = _launch_elementwise(kernels.parameter_free, (x, f), (out,))
    else:
        if not weight.is_contiguous() or not bias.is_contiguous():
            return None
        own = (_matrix(weight.detach()), bias.detach())
        shape = tile("forward", f.shape[1], f.element_size())
        launched = _launch(kernels.forward, shape, (x, f), own, (out,), _precision(f))
    if launched is None or launched.kernel is None:  # no pixel, or interpreted
        return None
    places = tuple(value.data_ptr() for value in own)
    return repeat(launched.kernel, launched.grid, Arguments((), places, launched.rest, own), out)


def span_attention_backward(
    grad: Tensor, x: Tensor, f: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients by x, f, W and b: one kernel for the maps, one for shares of dW and db, and their sum."""
    dx, df = torch.empty_like(x), torch.empty_like(f)
    if not (is_flat(dx) and is_flat(df)):
        dense_dx, dense_df, dw, db = span_attention_backward(
            grad, x.contiguous(), f.contiguous(), weight, bias
        )
        return dx.copy_(dense_dx), df.copy_(dense_df), dw, db
    shape = tile("data", f.shape[1], f.element_size())
    _launch(
        kernels.data,
        shape,
        (grad, x, f),
        (_matrix(weight), bias.contiguous()),
        (dx, df),
        _precision(f),
    )
    dw, db = _weight_gradients(grad, x, f)
    return dx, df, dw.to(f.dtype).view_as(weight), db.to(f.dtype)


def parameter_free_attention_backward(grad: Tensor, x: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients by x and f."""
    dx, df = torch.empty_like(x), torch.empty_like(f)
    if not (is_flat(dx) and is_flat(df)):
        dense_dx, dense_df = parameter_free_attention_backward(grad, x.contiguous(), f.contiguous())
        return dx.copy_(dense_dx), df.copy_(dense_df)
    _launch_elementwise(kernels.parameter_free_back, (grad, x, f), (dx, df))
    return dx, df


def _weight_gradients(grad: Tensor, x: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
    num, channels, height, width = f.shape
    shape = tile("weights", channels, f.element_size())
    blocks = num * triton.cdiv(height * width, shape.pixels)
    shares = min(blocks, _multiprocessors(f.device) * SHARES_PER_MULTIPROCESSOR)
    dw = torch.empty(shares, channels, channels, dtype=torch.float32, device=f.device)
    db = torch.empty(shares, channels, dtype=torch.float32, device=f.device)
    if blocks == 0:
        return dw.sum(0), db.sum(0)
    maps = [flatten(value) for value in (grad, x, f)]
    side = triton.cdiv(channels, shape.channels)
    with _on(f):
        kernels.weights[(shares, side, side)](
            *(held.tensor for held in maps), dw, db, channels, height * width, blocks, *_strides(maps),
            PIXELS=shape.pixels, CHANNELS=shape.channels, PRECISION=_precision(f), INTERPRET=interpreting(),
            enable_fp_fusion=FUSED, num_warps=shape.warps, num_stages=shape.stages,
        )  # fmt: skip
    return dw.sum(0), db.sum(0)


def _launch(
    kernel: Any,
    shape: Tile,
    inputs: tuple[Tensor, ...],
    others: tuple[Tensor, ...],
    outputs: tuple[Tensor, ...],
    precision: str,
) -> Launched | None:
    num, channels, height, width = outputs[0].shape
    pixels, blocks = height * width, triton.cdiv(channels, shape.channels)
    if num * pixels == 0:
        return None
    maps = [flatten(value) for value in (*inputs, *outputs)]
    tensors = [held.tensor for held in maps]
    grid = (num * triton.cdiv(pixels, shape.pixels), blocks)
    numbers = (channels, pixels, *_strides(maps))
    constants = (
        shape.pixels,
        shape.channels,
        blocks,
        precision,
        interpreting(),
    )  # in the kernels' order
    with _on(outputs[0]):
        compiled = kernel[grid](
            *tensors[: len(inputs)], *others, *tensors[len(inputs) :], *numbers, *constants,
            enable_fp_fusion=FUSED, num_warps=shape.warps, num_stages=shape.stages,
        )  # fmt: skip
    return Launched(compiled, grid, (*numbers, *constants))


def _launch_elementwise(
    kernel: Any, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
) -> Launched | None:
    num, channels, height, width = outputs[0].shape
    maps = [flatten(value) for value in (*inputs, *outputs)]
    total, pixels = num * channels * height * width, height * width
    shape = TILED
    if len({held[1:] for held in maps}) == 1 and _covers(maps[-1], num, channels, pixels):
        maps = [Map(held.tensor, total, total, 1) for held in maps]
        num, channels, pixels, shape = 1, 1, total, FLAT
    if total == 0:
        return None
    grid = (num * triton.cdiv(pixels, shape.pixels), triton.cdiv(channels, shape.channels))
    numbers = (channels, pixels, *_strides(maps))
    constants = (shape.pixels, shape.channels)
    with _on(outputs[0]):
        compiled = kernel[grid](
            *(held.tensor for held in maps),
            *numbers,
            *constants,
            enable_fp_fusion=FUSED,
            num_warps=shape.warps,
        )
    return Launched(compiled, grid, (*numbers, *constants))


def _covers(held: Map, num: int, channels: int, pixels: int) -> bool:
    """Whether a map fills its memory without gaps, so that its elements are one axis."""
    planes = held.pixel == 1 and held.channel == pixels
    rows = held.channel == 1 and held.pixel == channels
    return (planes or rows) and (num == 1 or held.image == channels * pixels)


def _strides(maps: list[Map]) -> list[int]:
    return [stride for held in maps for stride in held[1:]]


def _matrix(weight: Tensor) -> Tensor:
    return weight.reshape(weight.shape[:2]).contiguous()


def _precision(f: Tensor) -> str:
    return "tf32x3" if f.dtype == torch.float32 else "tf32"


def _multiprocessors(device: torch.device) -> int:
    if device.type != "cuda":
        return 1
    return torch.cuda.get_device_properties(device).multi_processor_count


def _on(value: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Triton launches on the current device and its current stream: make it that of the tensors."""
    return torch.cuda.device(value.device) if value.is_cuda else contextlib.nullcontext()
