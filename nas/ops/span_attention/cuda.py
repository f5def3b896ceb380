"""Launches the attentions' CUDA kernels, each built for its channels and dtype at its first call.

Building needs nvcc; its results are cached. There is no CUDA backward: Triton's serves.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from nas.ops import nvcc
from nas.ops.backend import Case
from nas.ops.prepared import Repeat
from nas.ops.span_attention.layout import flatten

FOLDER = Path(__file__).parent
MAX_CHANNELS = 64
ELEMENTS = {torch.float32: "Float", torch.float16: "Half", torch.bfloat16: "BFloat"}
CODES = {torch.float32: 4, torch.float16: 2, torch.bfloat16: 3}
NOT_SERVED = -1  # what a launch returns on layouts that have to be made equal first


def why_not(op: str, device: torch.device, case: Case) -> str | None:
    """Return why an operator cannot run here; None: it was just built, and ran on one pixel."""
    assert case is None or isinstance(case, tuple)
    channels, dtype = (16, torch.float32) if case is None else case
    if dtype not in ELEMENTS:
        return f"no kernel for {dtype}; there are float32, float16 and bfloat16"
    if op == "span_attention" and channels > MAX_CHANNELS:
        return f"no kernel for {channels} channels; there are 1 to {MAX_CHANNELS}"
    if torch.cuda.get_device_capability(device) < (8, 0):
        name = torch.cuda.get_device_name(device)
        return f"the kernels need compute capability 8.0, {name} has less"

    x = torch.zeros(1, channels, 1, 1, dtype=dtype, device=device)
    try:
        if op == "span_attention":
            weight = torch.zeros(channels, channels, 1, 1, dtype=dtype, device=device)
            span_attention_forward(x, x, weight, weight[0, :, 0, 0].clone())
        else:
            parameter_free_attention_forward(x, x)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # BuildError is one
        return str(error)
    return None


def span_attention_forward(x: Tensor, f: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return (x + f) * (W f + b) in the layout of f."""
    out = torch.empty_like(f)
    if out.numel() == 0:
        return out

    # Parameters are small: a copy of them costs little beside the maps.
    device, (num, channels, height, width) = f.get_device(), f.shape
    library = _load_span_library(device, channels, f.dtype)
    weight, bias = weight.contiguous(), bias.contiguous()

    def launch(x: Tensor, f: Tensor, weight: Tensor, out: Tensor) -> int:
        code: int = library.nas_span_attention(
            x.data_ptr(), f.data_ptr(), weight.data_ptr(), bias.data_ptr(), out.data_ptr(),
            num, height, width, *x.stride(), *f.stride(), *out.stride(), _read_stream(device),
        )  # fmt: skip
        return code

    code = (
        launch(x, f, weight, out)
        if _is_current(device)
        else _launch_on(device, launch, x, f, weight, out)
    )
    if code == NOT_SERVED:
        alike_x, alike_f, target = _copy_alike(x, f, out)
        # The clone of the weight is aligned, whatever the weight is.
        code = _launch_on(device, launch, alike_x, alike_f, weight.clone(), target)
        if target is not out:
            out.copy_(target)
    _check_code("span_attention", code, library)
    return out


def parameter_free_attention_forward(x: Tensor, f: Tensor) -> Tensor:
    """Return (x + f) * (sigmoid(f) - 0.5) in the layout of f."""
    out = torch.empty_like(f)
    if out.numel() == 0:
        return out
    device = f.get_device()
    library = _load_parameter_free_library(device)

    def launch(x: Tensor, f: Tensor, out: Tensor) -> int:
        code: int = library.nas_parameter_free(
            x.data_ptr(), f.data_ptr(), out.data_ptr(), CODES[f.dtype], *f.shape,
            *x.stride(), *f.stride(), *out.stride(), _read_stream(device),
        )  # fmt: skip
        return code

    code = launch(x, f, out) if _is_current(device) else _launch_on(device, launch, x, f, out)
    if code == NOT_SERVED:
        alike_x, alike_f, target = _copy_alike(x, f, out)
        code = _launch_on(device, launch, alike_x, alike_f, target)
        if target is not out:
            out.copy_(target)
    _check_code("parameter_free_attention", code, library)
    return out


def prepare(x: Tensor, f: Tensor, weight: Tensor | None, bias: Tensor | None) -> Repeat | None:
    """Return a repeat of the launch of an attention; without a weight, of SPAN's.

    None: it copies a weight, or has nothing to compute. A repeat on layouts that the kernels do not
    serve returns None itself.
    """
    out = torch.empty_like(f)
    device, shape, strides = f.get_device(), out.shape, out.stride()
    all_strides = (*x.stride(), *f.stride(), *out.stride())
    parameters: tuple[Tensor, ...] = ()
    if out.numel() == 0:
        return None

    # All but the maps' addresses is read once, for every launch.
    if weight is None or bias is None:
        function = _load_parameter_free_library(device).nas_parameter_free
        numbers: tuple[int, ...] = (CODES[f.dtype], *f.shape, *all_strides)
    else:
        if not weight.is_contiguous() or not bias.is_contiguous():
            return None
        function = _load_span_library(device, f.shape[1], f.dtype).nas_span_attention
        parameters = (weight.detach(), bias.detach())
        numbers = (f.shape[0], *f.shape[2:], *all_strides)
    places = tuple(value.data_ptr() for value in parameters)

    def launch(first: Tensor, second: Tensor | None) -> Tensor | None:
        assert second is not None
        if not _is_current(device):
            return None
        out = second.new_empty_strided(shape, strides)
        code = function(
            first.data_ptr(),
            second.data_ptr(),
            *places,
            out.data_ptr(),
            *numbers,
            _read_stream(device),
        )
        return out if code == 0 else None

    launch.held = parameters  # type: ignore[attr-defined]
    return launch


def _copy_alike(x: Tensor, f: Tensor, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return x, f and the result in one layout that the kernels serve: out's, or else NCHW."""
    # Empty maps of one layout have equal strides, which is what the kernels ask for.
    held = flatten(out)
    if held.tensor is not out or not (held.planes or held.rows):
        out = torch.empty_like(out, memory_format=torch.contiguous_format)
    return torch.empty_like(out).copy_(x), torch.empty_like(out).copy_(f), out


def defines_of(channels: int, dtype: torch.dtype) -> dict[str, str | int]:
    """Return the macros with which kernel.cu is built for a case."""
    return {"NAS_CHANNELS": channels, "NAS_ELEMENT": ELEMENTS[dtype]}


@cache
def _load_span_library(device: int, channels: int, dtype: torch.dtype) -> ctypes.CDLL:
    arch = nvcc.architecture(torch.device("cuda", device))
    library = nvcc.load(FOLDER / "kernel.cu", arch=arch, defines=defines_of(channels, dtype))
    # Five tensors, then their sizes and strides, then the stream.
    pointer, number = ctypes.c_void_p, ctypes.c_longlong
    library.nas_span_attention.argtypes = [pointer] * 5 + [number] * 15 + [pointer]
    return _declare_errors(library)


@cache
def _load_parameter_free_library(device: int) -> ctypes.CDLL:
    library = nvcc.load(
        FOLDER / "parameter_free.cu", arch=nvcc.architecture(torch.device("cuda", device))
    )
    pointer, number = ctypes.c_void_p, ctypes.c_longlong
    library.nas_parameter_free.argtypes = [pointer] * 3 + [number] * 17 + [pointer]
    return _declare_errors(library)


def _declare_errors(library: ctypes.CDLL) -> ctypes.CDLL:
    library.nas_error_text.argtypes = [ctypes.c_int]
    library.nas_error_text.restype = ctypes.c_char_p
    return library


def _check_code(op: str, code: int, library: ctypes.CDLL) -> None:
    if code == 0:
        return
    if code == NOT_SERVED:
        raise RuntimeError(f"{op}: the CUDA kernel takes up to 2^31 pixels an image")
    raise RuntimeError(f"{op}: CUDA error {code}: {library.nas_error_text(code).decode()}")


def _read_stream(device: int) -> int:
    """Return the current stream's handle, at half the cost of torch.cuda.current_stream."""
    stream: int = torch._C._cuda_getCurrentRawStream(device)
    return stream


def _is_current(device: int) -> bool:
    return torch.cuda.current_device() == device


def _launch_on(device: int, launch: Callable[..., int], *tensors: Tensor) -> int:
    with torch.cuda.device(device):
        return launch(*tensors)
