"""Launches the Triton kernel of conv_act: on maps and slices of maps, into buffers of the caller's."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from nas.ops.backend import interpreting, renew
from nas.ops.conv_act.config import (
    MAX_CHANNELS,
    TUNED,
    Case,
    Config,
    choose,
    fit_image,
    precision_of,
    reads_image,
)
from nas.ops.conv_act.pixels import ALIGNMENT, Pixels, dense, empty_map, pixels_of
from nas.ops.conv_act.reference import ATTENTIONS, GATED
from nas.ops.conv_act.rounding import ROUND_OPERANDS, Rounding
from nas.ops.conv_act.triton_kernels import conv_act_kernel
from nas.ops.prepared import Arguments, Repeat, is_aligned, pointer, repeat

OVERLAPS_FROM = 90  # compute capability that has programmatic dependent launch
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
LARGEST_INT = 2**31 - 1
MAX_PLANS = 8192  # of them a network needs some twenty for each size of image


def why_not(
    device: torch.device,
    channels: int = 32,
    dtype: torch.dtype = torch.float32,
    epilogue: str = "none",
    in_channels: int | None = None,
    kernel: int = 3,
    precision: str | None = None,
    separable: bool = False,
) -> str | None:
    """Say why the kernel cannot serve a case, or run it once on one pixel: what that raises is a reason too.

    Args:
        in_channels: by default as many as the result has.
        precision: as `launch` takes it.
        separable: the kernel is that of a depthwise convolution before a 1x1 one.
    """
    if dtype not in DTYPES:
        return f"the kernel takes {', '.join(str(known) for known in DTYPES)}, not {dtype}"
    if epilogue == "conv1x1" and channels > MAX_CHANNELS:
        return f"a 1x1 gate of {channels} channels does not fit one program; {MAX_CHANNELS} do"
    x = torch.zeros(1, in_channels or channels, 1, 1, dtype=dtype, device=device)
    weight, bias = x.new_zeros(channels, x.shape[1], kernel, kernel), x.new_zeros(channels)
    skip = x.new_zeros(1, channels, 1, 1) if epilogue in ATTENTIONS else None
    gate: tuple[Tensor | None, Tensor | None] = (None, None)
    if epilogue in GATED:
        gate = x.new_zeros(channels, channels if epilogue == "conv1x1" else 1, 1, 1), bias
    if separable:
        depth, weight = (
            x.new_zeros(kernel, kernel, x.shape[1], dtype=torch.float32),
            weight[..., :1, :1],
        )
        out = empty_map(x, channels, dtype)
        with _on(device):
            launch(
                x,
                pack(weight),
                bias,
                epilogue,
                out=out,
                skip=skip,
                depth=depth,
                precision=precision,
            )
    else:
        forward(x, weight, bias, epilogue, skip, *gate, precision)
    return None


def pack(weight: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """A weight as the kernel reads it, channels_last; no copy where it lies so."""
    return weight.detach().to(dtype or weight.dtype).contiguous(memory_format=torch.channels_last)


def forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    epilogue: str,
    skip: Tensor | None,
    gate_weight: Tensor | None,
    gate_bias: Tensor | None,
    precision: str | None = None,
) -> Tensor:
    """The operator, channels_last. A weight that is channels_last is not copied; precision: see `launch`."""
    out = empty_map(x, weight.shape[0], x.dtype)
    with _on(x.device):
        launch(
            x,
            weight.contiguous(memory_format=torch.channels_last),
            bias,
            epilogue,
            out=out,
            skip=skip,
            gate_weight=gate_weight.contiguous() if gate_weight is not None else None,
            gate_bias=gate_bias,
            precision=precision,
        )
    return out


def launch(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    epilogue: str,
    *,
    out: Tensor,
    skip: Tensor | None = None,
    gate_weight: Tensor | None = None,
    gate_bias: Tensor | None = None,
    depth: Tensor | None = None,
    mean: Tensor | None = None,
    shuffle: int = 0,
    precision: str | None = None,
    rounding: Rounding = ROUND_OPERANDS,
    overlap: bool = False,
) -> None:
    """Run the kernel into a buffer, on the current stream; nothing is checked.

    Args:
        x: (N, Cin, H, W), channels_last or a slice of such a map; an image, of up to four channels,
            with any strides. Other maps are copied. Maps, skip and out too, may have any dtype.
        weight: (C, Cin, k, k) as `pack` gives it; its dtype is that of the products' operands.
        bias: (C,).
        epilogue: one of `EPILOGUES`.
        out: (N, C, H, W), channels_last or a slice of such a map; with `shuffle` (N, C / shuffle^2,
            shuffle * H, shuffle * W), contiguous.
        skip: of out's shape: what an attention takes; with `shuffle` contiguous float32, added.
        gate_weight: (C, C, 1, 1) for `conv1x1`, (C, 1, 1, 1) for `diagonal`, contiguous.
        gate_bias: (C,).
        depth: (k, k, Cin) float32, the taps of a depthwise convolution of x that comes before a 1x1 weight.
        mean: (Cin,) float32; the input is then 255 * (x - mean), padded with zeros after that.
        shuffle: scale of a pixel shuffle that follows, or 0; the epilogue is `none` then.
        precision: `tf32` or `tf32x3` for float32; by default that of cuDNN's convolutions.
        rounding: which float32 values are rounded to TF32 here, where that is the precision.
        overlap: start while the launch before it ends (from Hopper on). Weights are read before that: no
            launch on the stream may have written them just before.
    """
    precision = precision or precision_of(weight.dtype)
    tensors = (x, weight, bias, skip, gate_weight, gate_bias, depth, mean, out)
    kinds = [
        (t.dtype, t.shape, t.stride(), t.data_ptr() % ALIGNMENT) if t is not None else None
        for t in tensors
    ]
    key = (epilogue, shuffle, precision, rounding, overlap, x.device, *kinds)
    plan = _plans.get(key)
    if plan is not None:
        plan.launch(*tensors)
    elif out.numel():
        plan = _plan(tensors, epilogue, shuffle, precision, rounding, overlap)
        if len(_plans) >= MAX_PLANS:
            _plans.clear()
        if plan.launch(*tensors):
            _plans[key] = plan


def prepare(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    epilogue: str,
    skip: Tensor | None,
    gate_weight: Tensor | None,
    gate_bias: Tensor | None,
    precision: str | None = None,
) -> Repeat | None:
    """The launch that `forward` has made of these operands, to be made again; None: it copies one of them."""
    out = empty_map(x, weight.shape[0], x.dtype)
    packed = weight.is_contiguous(memory_format=torch.channels_last)
    packed = packed and (gate_weight is None or gate_weight.is_contiguous())
    if not packed or not out.numel() or not is_aligned(x, skip, out):
        return None
    tensors = (x, weight, bias, skip, gate_weight, gate_bias, None, None, out)
    plan = _plan(tensors, epilogue, 0, precision or precision_of(weight.dtype))
    kernel = _compiled.get(plan.key)
    if kernel is None or True in plan.moved:
        return None
    places = tuple(pointer(value) for value in tensors)
    after = (*plan.numbers, *plan.constants.values())
    held = tuple(None if value is None else value.detach() for value in tensors[1:3] + tensors[4:6])
    return repeat(kernel, plan.grid, Arguments(places[1:3], places[4:8], after, held), out)


def tune(found: Mapping[Case, Config]) -> None:
    """Put timed tilings before the rules, in this process."""
    TUNED.update(found)
    _plans.clear()
    renew()


@dataclass(slots=True)
class _Plan:
    """A launch for operands that lie as some did before: all but the pointers is known."""

    grid: tuple[int, int, int]
    numbers: tuple[int, ...]
    constants: dict[str, Any]
    num_warps: int
    num_stages: int
    moved: tuple[
        bool, bool, bool
    ]  # whether x, skip, out are passed as pixels_of or a copy gives them
    key: tuple[Any, ...]

    def launch(self, x: Tensor, *rest: Any) -> bool:
        """Launch; True: the kernel is compiled, and found again without Triton's own search."""
        weight, bias, skip, gate_weight, gate_bias, depth, mean, out = rest
        if True in self.moved:
            x = _pixels(x).base if self.moved[0] else x
            skip = _pixels(skip).base if self.moved[1] else skip
            out = _pixels(out).base if self.moved[2] else out
        tensors = (x, weight, bias, skip, gate_weight, gate_bias, depth, mean, out)
        found = _compiled.get(self.key)
        if found is not None:
            found[self.grid](*tensors, *self.numbers, *self.constants.values())
            return True
        found = conv_act_kernel[
            self.grid
        ](
            *tensors,
            *self.numbers,
            **self.constants,
            num_warps=self.num_warps,
            num_stages=self.num_stages,
            **(
                {"launch_pdl": True} if self.constants["OVERLAP"] else {}
            ),  # the interpreter does not know it
            enable_fp_fusion=True,  # as the tilings were compiled for the tests; Triton's default may change
        )
        if interpreting():
            return False
        _compiled[self.key] = found
        return True


_plans: dict[tuple[Any, ...], _Plan] = {}
_compiled: dict[tuple[Any, ...], Any] = {}


def _plan(
    tensors: tuple[Any, ...],
    epilogue: str,
    shuffle: int,
    precision: str,
    rounding: Rounding = ROUND_OPERANDS,
    overlap: bool = False,
) -> _Plan:
    """Find out all of a launch but the pointers; the operands are in the kernel's order."""
    x, weight, _, skip, _, _, depth, _, out = tensors
    case = _describe_case(x, weight, depth, epilogue, shuffle, precision)
    config = _fit_tiling(case, x)
    maps = _locate_maps(x, skip, out, case.image, shuffle)
    constants = {  # in the kernel's order: a compiled kernel takes them by place
        "CIN": case.in_channels,
        "COUT": case.channels,
        "KERNEL": case.kernel,
        "EPILOGUE": epilogue,
        **_address_maps(*maps),
        "SHUFFLE": shuffle,
        "PRECISION": precision,
        **_choose_rounding(x, weight, out, case, rounding),
        "OVERLAP": overlap and case.capability >= OVERLAPS_FROM,
        "FORM": config.form,
        "BLOCK_H": config.height,
        "BLOCK_W": config.width,
        "BLOCK_K": config.block_k,
        "BLOCK_N": config.block_n,
    }
    count, _, height, width = x.shape
    tiles = -(-height // config.height) * -(-width // config.width) * count
    numbers = (height, width, *(x.stride() if case.image else (0, 0, 0, 0)))
    source, added, target = maps
    return _Plan(
        grid=(tiles, -(-case.channels // config.block_n), 1),
        numbers=numbers,
        constants=constants,
        num_warps=config.num_warps,
        num_stages=config.num_stages,
        moved=(source.base is not x, added.base is not skip, target.base is not out),
        key=_key_of_compiled(tensors, numbers, config, constants),
    )


def _describe_case(
    x: Tensor, weight: Tensor, depth: Tensor | None, epilogue: str, shuffle: int, precision: str
) -> Case:
    channels, in_channels, kernel, _ = weight.shape
    separable = depth is not None
    return Case(
        in_channels=in_channels,
        channels=channels,
        kernel=depth.shape[0] if depth is not None else kernel,
        item_bytes=weight.element_size(),
        epilogue="pixel_shuffle" if shuffle else epilogue,
        image=not separable and reads_image(in_channels, kernel),
        strict=precision == "tf32x3",
        separable=separable,
        capability=_capability(x.device),
    )


def _fit_tiling(case: Case, x: Tensor) -> Config:
    if not x.is_cuda:  # interpreted, where no size is faster
        return choose(case)
    count, _, height, width = x.shape
    return fit_image(case, count, height, width, _multiprocessors(x.device))


def _locate_maps(
    x: Tensor, skip: Any, out: Tensor, image: bool, shuffle: int
) -> tuple[Pixels, Pixels, Pixels]:
    """Where the pixels of x, skip and out lie; an image, and both sides of a pixel shuffle, have no pitch."""
    source = Pixels(x, 0, 0) if image else _pixels(x)
    added = _pixels(skip) if skip is not None and not shuffle else Pixels(skip, 0, 0)
    target = Pixels(out, 0, 0) if shuffle else pixels_of(out)
    assert target is not None, (
        f"out must be channels_last or a slice of it, got strides {out.stride()}"
    )
    return source, added, target


def _address_maps(source: Pixels, added: Pixels, target: Pixels) -> dict[str, int]:
    maps = {"X": source, "SKIP": added, "OUT": target}
    fields = ("pitch", "offset")
    return {
        f"{name}_{field.upper()}": getattr(pixels, field)
        for name, pixels in maps.items()
        for field in fields
    }


def _choose_rounding(
    x: Tensor, weight: Tensor, out: Tensor, case: Case, rounding: Rounding
) -> dict[str, bool]:
    """Which float32 values this launch rounds to TF32. It always rounds an image: no launch wrote that."""
    tf32 = weight.dtype == torch.float32 and not case.strict
    return {
        "ROUND_X": tf32 and rounding.x and x.dtype == torch.float32 and not case.image,
        "ROUND_WEIGHT": tf32 and rounding.weight,
        "ROUND_OUT": rounding.out
        and out.dtype == torch.float32
        and case.epilogue != "pixel_shuffle",
    }


def _key_of_compiled(
    tensors: tuple[Any, ...], numbers: tuple[int, ...], config: Config, constants: dict[str, Any]
) -> tuple[Any, ...]:
    """What Triton compiles a kernel of its own for; `wide` are the numbers of 64 bits."""
    kinds = [(t.dtype, t.data_ptr() % ALIGNMENT == 0) if t is not None else None for t in tensors]
    wide = tuple(number > LARGEST_INT for number in numbers)
    return (
        tensors[0].device,
        config.num_warps,
        config.num_stages,
        wide,
        *kinds,
        *constants.values(),
    )


def _pixels(value: Tensor) -> Pixels:
    return pixels_of(value) or dense(value)


@cache
def _capability(device: torch.device) -> int:
    """Such as 90; 0 where the kernels are interpreted."""
    major, minor = torch.cuda.get_device_capability(device) if device.type == "cuda" else (0, 0)
    return 10 * major + minor


@cache
def _multiprocessors(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def _on(device: torch.device) -> Any:
    """The device guard; none where it is the current one already, as it costs as much as a launch."""
    if device.type != "cuda" or device.index == torch.cuda.current_device():
        return nullcontext()
    return torch.cuda.device(device)
