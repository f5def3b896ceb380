"""Launches the attentions' Triton kernels: any channel count, batch, strides and size, both ways.

float32 products take three TF32 passes (`tf32x3`, as exact as float32). Those of float16 and
bfloat16 are exact; where the backward multiplies a float32 intermediate, it does so in TF32, which
has float16's precision and float32's range.
"""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from nas.ops.backend import Case, interpreting
from nas.ops.prepared import Arguments, Repeat, is_aligned, make_repeat
from nas.ops.span_attention import triton_kernels as kernels
from nas.ops.span_attention.config import Tile, tile
from nas.ops.span_attention.layout import Map, flatten, is_flat

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
SHARES_PER_MULTIPROCESSOR = 4  # programs that share the pixels of dW
# Products and sums in one rounding; given at each launch, as Triton 3.10 changes its default.
FUSED = True
FLAT = Tile(pixels=1024, channels=1, warps=4)  # element-wise kernels on maps of one layout
TILED = Tile(pixels=64, channels=16, warps=4)


class Launched(NamedTuple):
    """A launch that was made: the compiled kernel, its grid, its arguments after the tensors."""

    kernel: Any
    grid: tuple[int, int]
    rest: tuple[Any, ...]


def why_not(op: str, device: torch.device, case: Case) -> str | None:
    """Return why an operator cannot run here; None: it has just run on one pixel.

    What that run raises is a reason too.
    """
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
    """Return (x + f) * (W f + b) in the layout of f."""
    out = torch.empty_like(f)
    # empty_like keeps the layout of f, which may have no single stride of pixels.
    if not is_flat(out):
        return out.copy_(span_attention_forward(x, f.contiguous(), weight, bias))
    shape = tile("forward", f.shape[1], f.element_size())
    _launch_kernel(
        kernels.forward,
        shape,
        (x, f),
        (_flatten_weight(weight), bias.contiguous()),
        (out,),
        _choose_precision(f),
    )
    return out


def parameter_free_attention_forward(x: Tensor, f: Tensor) -> Tensor:
    """Return (x + f) * (sigmoid(f) - 0.5) in the layout of f."""
    out = torch.empty_like(f)
    if not is_flat(out):
        return out.copy_(parameter_free_attention_forward(x, f.contiguous()))
    _launch_elementwise(kernels.parameter_free, (x, f), (out,))
    return out


def prepare(x: Tensor, f: Tensor, weight: Tensor | None, bias: Tensor | None) -> Repeat | None:
    """Return a repeat of the launch of an attention; without a weight, of SPAN's.

    None: it copies a map, or has nothing to compute.
    """
    out = torch.empty_like(f)
    parameters: tuple[Tensor, ...] = ()
    if not (is_flat(x) and is_flat(f) and is_flat(out) and is_aligned(x, f, out)):
        return None

    # Triton finds the kernel in a launch, which also computes what nobody reads.
    if weight is None or bias is None:
        launched = _launch_elementwise(kernels.parameter_free, (x, f), (out,))
    else:
        if not weight.is_contiguous() or not bias.is_contiguous():
            return None
        parameters = (_flatten_weight(weight.detach()), bias.detach())
        shape = tile("forward", f.shape[1], f.element_size())
        precision = _choose_precision(f)
        launched = _launch_kernel(kernels.forward, shape, (x, f), parameters, (out,), precision)
    if launched is None or launched.kernel is None:  # no pixel, or interpreted
        return None

    places = tuple(value.data_ptr() for value in parameters)
    arguments = Arguments((), places, launched.rest, parameters)
    return make_repeat(launched.kernel, launched.grid, arguments, out)


def span_attention_backward(
    grad: Tensor, x: Tensor, f: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients by x, f, W and b.

    One kernel computes those of the maps, another shares of dW and db, which are then summed.
    """
    dx, df = torch.empty_like(x), torch.empty_like(f)
    if not (is_flat(dx) and is_flat(df)):
        dense_dx, dense_df, dw, db = span_attention_backward(
            grad, x.contiguous(), f.contiguous(), weight, bias
        )
        return dx.copy_(dense_dx), df.copy_(dense_df), dw, db
    shape = tile("data", f.shape[1], f.element_size())
    _launch_kernel(
        kernels.data,
        shape,
        (grad, x, f),
        (_flatten_weight(weight), bias.contiguous()),
        (dx, df),
        _choose_precision(f),
    )
    dw, db = _compute_weight_gradients(grad, x, f)
    # Shares are summed in float32, and rounded once.
    return dx, df, dw.to(f.dtype).view_as(weight), db.to(f.dtype)


def parameter_free_attention_backward(grad: Tensor, x: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients by x and f."""
    dx, df = torch.empty_like(x), torch.empty_like(f)
    if not (is_flat(dx) and is_flat(df)):
        dense_dx, dense_df = parameter_free_attention_backward(grad, x.contiguous(), f.contiguous())
        return dx.copy_(dense_dx), df.copy_(dense_df)
    _launch_elementwise(kernels.parameter_free_back, (grad, x, f), (dx, df))
    return dx, df


def _compute_weight_gradients(grad: Tensor, x: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
    """Return dW (C, C) and db (C,), float32, of maps that may have no pixel."""
    num, channels, height, width = f.shape
    shape = tile("weights", channels, f.element_size())

    # Each program sums a share of the blocks of pixels: without atomics results repeat bit by bit.
    blocks = num * triton.cdiv(height * width, shape.pixels)
    shares = min(blocks, _count_multiprocessors(f.device) * SHARES_PER_MULTIPROCESSOR)
    dw = torch.empty(shares, channels, channels, dtype=torch.float32, device=f.device)
    db = torch.empty(shares, channels, dtype=torch.float32, device=f.device)
    if blocks == 0:
        return dw.sum(0), db.sum(0)

    maps = [flatten(value) for value in (grad, x, f)]
    side = triton.cdiv(channels, shape.channels)
    with _guard_device(f):
        kernels.weights[(shares, side, side)](
            *(held.tensor for held in maps), dw, db, channels, height * width, blocks,
            *_list_strides(maps), PIXELS=shape.pixels, CHANNELS=shape.channels,
            PRECISION=_choose_precision(f), INTERPRET=interpreting(), enable_fp_fusion=FUSED,
            num_warps=shape.warps, num_stages=shape.stages,
        )  # fmt: skip
    return dw.sum(0), db.sum(0)


def _launch_kernel(
    kernel: Any,
    shape: Tile,
    inputs: tuple[Tensor, ...],
    others: tuple[Tensor, ...],
    outputs: tuple[Tensor, ...],
    precision: str,
) -> Launched | None:
    """Launch a kernel of products on maps and parameters; None: there is no pixel."""
    num, channels, height, width = outputs[0].shape
    pixels, blocks = height * width, triton.cdiv(channels, shape.channels)
    if num * pixels == 0:
        return None

    maps = [flatten(value) for value in (*inputs, *outputs)]
    tensors = [held.tensor for held in maps]
    grid = (num * triton.cdiv(pixels, shape.pixels), blocks)
    numbers = (channels, pixels, *_list_strides(maps))

    # By place, in the kernels' order, as a repeated launch gives them.
    constants = (shape.pixels, shape.channels, blocks, precision, interpreting())
    with _guard_device(outputs[0]):
        compiled = kernel[grid](
            *tensors[: len(inputs)], *others, *tensors[len(inputs) :], *numbers, *constants,
            enable_fp_fusion=FUSED, num_warps=shape.warps, num_stages=shape.stages,
        )  # fmt: skip
    return Launched(compiled, grid, (*numbers, *constants))


def _launch_elementwise(
    kernel: Any, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
) -> Launched | None:
    """Launch a kernel that looks at each element alone; None: there is none."""
    num, channels, height, width = outputs[0].shape
    maps = [flatten(value) for value in (*inputs, *outputs)]

    # Maps of one layout without gaps are read as one axis, with the widest accesses.
    total, pixels = num * channels * height * width, height * width
    shape = TILED
    if len({held[1:] for held in maps}) == 1 and _fills_memory(maps[-1], num, channels, pixels):
        maps = [Map(held.tensor, total, total, 1) for held in maps]
        num, channels, pixels, shape = 1, 1, total, FLAT
    if total == 0:
        return None

    grid = (num * triton.cdiv(pixels, shape.pixels), triton.cdiv(channels, shape.channels))
    numbers = (channels, pixels, *_list_strides(maps))
    constants = (shape.pixels, shape.channels)
    with _guard_device(outputs[0]):
        compiled = kernel[grid](
            *(held.tensor for held in maps), *numbers, *constants,
            enable_fp_fusion=FUSED, num_warps=shape.warps,
        )  # fmt: skip
    return Launched(compiled, grid, (*numbers, *constants))


def _fills_memory(held: Map, num: int, channels: int, pixels: int) -> bool:
    """Return whether a map fills its memory without gaps, so that its elements are one axis."""
    planes = held.pixel == 1 and held.channel == pixels
    rows = held.channel == 1 and held.pixel == channels
    return (planes or rows) and (num == 1 or held.image == channels * pixels)


def _list_strides(maps: list[Map]) -> list[int]:
    return [stride for held in maps for stride in held[1:]]


def _flatten_weight(weight: Tensor) -> Tensor:
    return weight.reshape(weight.shape[:2]).contiguous()


def _choose_precision(f: Tensor) -> str:
    return "tf32x3" if f.dtype == torch.float32 else "tf32"


def _count_multiprocessors(device: torch.device) -> int:
    if device.type != "cuda":
        return 1
    return torch.cuda.get_device_properties(device).multi_processor_count


def _guard_device(value: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Return a guard that makes a tensor's device the current one, on which Triton launches."""
    return torch.cuda.device(value.device) if value.is_cuda else contextlib.nullcontext()
