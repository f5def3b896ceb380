"""Launches the Triton kernel of conv_act on maps and slices of maps, into the caller's buffers."""

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
from nas.ops.prepared import Arguments, Repeat, is_aligned, make_repeat, pointer

OVERLAPS_FROM = 90  # the first compute capability that has programmatic dependent launch
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
LARGEST_INT = 2**31 - 1
MAX_LAUNCHES = 8192  # kept of a process; a network needs some twenty for each size of image


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
    """Return why the kernel cannot serve a case; None: it has just run it on one pixel.

    What that run raises is a reason too.

    Args:
        in_channels: by default as many as the result has.
        precision: as `launch` takes it.
        separable: the kernel is that of a depthwise convolution before a 1x1 one.
    """
    if dtype not in DTYPES:
        return f"the kernel takes {', '.join(str(known) for known in DTYPES)}, not {dtype}"
    if epilogue == "conv1x1" and channels > MAX_CHANNELS:
        return f"a 1x1 gate of {channels} channels does not fit one program; {MAX_CHANNELS} do"

    # One pixel of zeros goes through the same search and launch as any map.
    x = torch.zeros(1, in_channels or channels, 1, 1, dtype=dtype, device=device)
    weight, bias = x.new_zeros(channels, x.shape[1], kernel, kernel), x.new_zeros(channels)
    skip = x.new_zeros(1, channels, 1, 1) if epilogue in ATTENTIONS else None
    gate: tuple[Tensor | None, Tensor | None] = (None, None)
    if epilogue in GATED:
        gate = x.new_zeros(channels, channels if epilogue == "conv1x1" else 1, 1, 1), bias

    if not separable:
        forward(x, weight, bias, epilogue, skip, *gate, precision)
        return None
    depth = x.new_zeros(kernel, kernel, x.shape[1], dtype=torch.float32)
    out, weight = empty_map(x, channels, dtype), pack(weight[..., :1, :1])
    with _guard_device(device):
        launch(x, weight, bias, epilogue, out=out, skip=skip, depth=depth, precision=precision)
    return None


def pack(weight: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return a weight as the kernel reads it, channels_last; a copy only where it is not so."""
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
    """Return the operator's result, channels_last.

    Args:     see `launch`. A weight that is channels_last is not copied.
    """
    out = empty_map(x, weight.shape[0], x.dtype)
    with _guard_device(x.device):
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
        x: (N, Cin, H, W), channels_last or a slice of such a map; an image of up to four channels
            may have any strides. Other maps are copied. x, skip and out may differ in dtype.
        weight: (C, Cin, k, k) as `pack` returns it; its dtype is that of the products' operands.
        bias: (C,).
        epilogue: one of `EPILOGUES`.
        out: (N, C, H, W), channels_last or a slice of such a map; with `shuffle` (N, C / shuffle^2,
            shuffle * H, shuffle * W), contiguous.
        skip: of out's shape, for an attention; with `shuffle`, contiguous float32 that is added.
        gate_weight: (C, C, 1, 1) for `conv1x1`, (C, 1, 1, 1) for `diagonal`, contiguous.
        gate_bias: (C,).
        depth: (k, k, Cin) float32, the taps of a depthwise convolution of x before a 1x1 weight.
        mean: (Cin,) float32; the input is then 255 * (x - mean), padded with zeros after that.
        shuffle: scale of a pixel shuffle that follows, or 0; the epilogue is then `none`.
        precision: `tf32` or `tf32x3` for float32; by default that of cuDNN's convolutions.
        rounding: which float32 values are rounded to TF32 here, where that is the precision.
        overlap: start while the launch before it ends (from Hopper on). Weights are read before it
            has ended, so that launch must not have written them.
    """
    precision = precision or precision_of(weight.dtype)

    # A launch is found by all that it depends on but the pointers.
    tensors = (x, weight, bias, skip, gate_weight, gate_bias, depth, mean, out)
    kinds = [
        (t.dtype, t.shape, t.stride(), t.data_ptr() % ALIGNMENT) if t is not None else None
        for t in tensors
    ]
    key = (epilogue, shuffle, precision, rounding, overlap, x.device, *kinds)
    prepared = _launches.get(key)
    if prepared is not None:
        prepared.launch(*tensors)
    elif out.numel():
        prepared = _prepare_launch(tensors, epilogue, shuffle, precision, rounding, overlap)
        if len(_launches) >= MAX_LAUNCHES:
            _launches.clear()
        if prepared.launch(*tensors):
            _launches[key] = prepared


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
    """Return a repeat of the launch that `forward` has made of these operands.

    None: it copies one of them, so that a repeat would need the copy anew.
    """
    out = empty_map(x, weight.shape[0], x.dtype)
    packed = weight.is_contiguous(memory_format=torch.channels_last)
    packed = packed and (gate_weight is None or gate_weight.is_contiguous())
    if not packed or not out.numel() or not is_aligned(x, skip, out):
        return None

    # The first call compiled the kernel; a map that it passed as a copy cannot be repeated.
    tensors = (x, weight, bias, skip, gate_weight, gate_bias, None, None, out)
    prepared = _prepare_launch(tensors, epilogue, 0, precision or precision_of(weight.dtype))
    kernel = _compiled.get(prepared.key)
    if kernel is None or True in prepared.moved:
        return None

    places = tuple(pointer(value) for value in tensors)
    after = (*prepared.numbers, *prepared.constants.values())
    held = tuple(None if value is None else value.detach() for value in tensors[1:3] + tensors[4:6])
    arguments = Arguments(places[1:3], places[4:8], after, held)
    return make_repeat(kernel, prepared.grid, arguments, out)


def tune(tilings: Mapping[Case, Config]) -> None:
    """Let timed tilings go before the rules, in this process."""
    TUNED.update(tilings)
    _launches.clear()
    renew()


@dataclass(slots=True)
class _Launch:
    """A launch on operands of one layout, of which all is known but the pointers.

    Attributes:
        numbers: the kernel's arguments after the tensors: height, width, an image's strides.
        constants: its constexpr arguments, in its order.
        moved: whether x, skip and out are passed by their aligned bases, or copied.
        key: of the compiled kernel.
    """

    grid: tuple[int, int, int]
    numbers: tuple[int, ...]
    constants: dict[str, Any]
    num_warps: int
    num_stages: int
    moved: tuple[bool, bool, bool]
    key: tuple[Any, ...]

    def launch(self, x: Tensor, *rest: Any) -> bool:
        """Launch; return whether the kernel is compiled, so that Triton's search can be skipped."""
        weight, bias, skip, gate_weight, gate_bias, depth, mean, out = rest
        if True in self.moved:
            x = _view_pixels(x).base if self.moved[0] else x
            skip = _view_pixels(skip).base if self.moved[1] else skip
            out = _view_pixels(out).base if self.moved[2] else out
        tensors = (x, weight, bias, skip, gate_weight, gate_bias, depth, mean, out)

        # A compiled kernel takes its constants by place, after the numbers.
        kernel = _compiled.get(self.key)
        if kernel is not None:
            kernel[self.grid](*tensors, *self.numbers, *self.constants.values())
            return True

        # The interpreter does not know launch_pdl. Fusion is as stacks.csv has it: Triton's default
        # may change.
        overlap = {"launch_pdl": True} if self.constants["OVERLAP"] else {}
        kernel = conv_act_kernel[self.grid](
            *tensors, *self.numbers, **self.constants, **overlap,
            num_warps=self.num_warps, num_stages=self.num_stages, enable_fp_fusion=True,
        )  # fmt: skip
        if interpreting():
            return False
        _compiled[self.key] = kernel
        return True


_launches: dict[tuple[Any, ...], _Launch] = {}
_compiled: dict[tuple[Any, ...], Any] = {}


def _prepare_launch(
    tensors: tuple[Any, ...],
    epilogue: str,
    shuffle: int,
    precision: str,
    rounding: Rounding = ROUND_OPERANDS,
    overlap: bool = False,
) -> _Launch:
    """Return all of a launch but the pointers.

    Args:
        tensors: the operands, in the kernel's order.
    """
    x, weight, _, skip, _, _, depth, _, out = tensors
    case = _describe_case(x, weight, depth, epilogue, shuffle, precision)
    config = _fit_tiling(case, x)
    maps = _locate_maps(x, skip, out, case.image, shuffle)

    # In the kernel's order: a compiled kernel takes them by place.
    constants = {
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

    # A program for each tile of pixels and block of output channels.
    count, _, height, width = x.shape
    tiles = -(-height // config.height) * -(-width // config.width) * count
    numbers = (height, width, *(x.stride() if case.image else (0, 0, 0, 0)))
    source, added, target = maps
    return _Launch(
        grid=(tiles, -(-case.channels // config.block_n), 1),
        numbers=numbers,
        constants=constants,
        num_warps=config.num_warps,
        num_stages=config.num_stages,
        moved=(source.base is not x, added.base is not skip, target.base is not out),
        key=_make_compiled_key(tensors, numbers, config, constants),
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
        capability=_read_capability(x.device),
    )


def _fit_tiling(case: Case, x: Tensor) -> Config:
    if not x.is_cuda:  # interpreted, where no size is faster
        return choose(case)
    count, _, height, width = x.shape
    return fit_image(case, count, height, width, _count_multiprocessors(x.device))


def _locate_maps(
    x: Tensor, skip: Any, out: Tensor, image: bool, shuffle: int
) -> tuple[Pixels, Pixels, Pixels]:
    """Return x, skip and out by pixel.

    An image, and both sides of a pixel shuffle, have strides or none instead of a pitch.
    """
    # x and skip may be copied to lie by pixel; the result cannot: it is written where it is.
    source = Pixels(x, 0, 0) if image else _view_pixels(x)
    added = _view_pixels(skip) if skip is not None and not shuffle else Pixels(skip, 0, 0)
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
    """Return which float32 values this launch rounds to TF32.

    The kernel always rounds an image, as no launch wrote it.
    """
    # A pixel shuffle writes the final image, which no product reads.
    tf32 = weight.dtype == torch.float32 and not case.strict
    return {
        "ROUND_X": tf32 and rounding.x and x.dtype == torch.float32 and not case.image,
        "ROUND_WEIGHT": tf32 and rounding.weight,
        "ROUND_OUT": rounding.out
        and out.dtype == torch.float32
        and case.epilogue != "pixel_shuffle",
    }


def _make_compiled_key(
    tensors: tuple[Any, ...], numbers: tuple[int, ...], config: Config, constants: dict[str, Any]
) -> tuple[Any, ...]:
    """Return all for which Triton compiles a kernel of its own."""
    kinds = [(t.dtype, t.data_ptr() % ALIGNMENT == 0) if t is not None else None for t in tensors]

    # A number beyond 32 bits is another type of argument.
    wide = tuple(number > LARGEST_INT for number in numbers)
    return (
        tensors[0].device,
        config.num_warps,
        config.num_stages,
        wide,
        *kinds,
        *constants.values(),
    )


def _view_pixels(value: Tensor) -> Pixels:
    return pixels_of(value) or dense(value)


@cache
def _read_capability(device: torch.device) -> int:
    """Return a device's compute capability, such as 90; 0 where kernels are interpreted."""
    major, minor = torch.cuda.get_device_capability(device) if device.type == "cuda" else (0, 0)
    return 10 * major + minor


@cache
def _count_multiprocessors(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def _guard_device(device: torch.device) -> Any:
    """Return a guard that makes a device the current one.

    It does nothing where the device is so already: a real guard costs as much as a launch.
    """
    if device.type != "cuda" or device.index == torch.cuda.current_device():
        return nullcontext()
    return torch.cuda.device(device)
