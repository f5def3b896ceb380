"""How CUDA forms float32 products, set for a while: PyTorch has old and new switches for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

Products = Literal["tf32", "ieee"]


class _Switch:
    """A new switch that torch.backends has no attribute for: mkldnn's there is the general one."""

    def __init__(self, backend: str, operation: str) -> None:
        self.place = (backend, operation)

    @property
    def fp32_precision(self) -> str:
        value: str = torch._C._get_fp32_precision_getter(*self.place)
        return value

    @fp32_precision.setter
    def fp32_precision(self, value: str) -> None:
        torch._C._set_fp32_precision_setter(*self.place, value)


_general: Any = torch.backends
_cudnn: Any = torch.backends.cudnn
_cublas: Any = torch.backends.cuda.matmul
_cpu_matrices: Any = _general.mkldnn.matmul
# From the top down: one that is "none" follows that of its device, then the general one.
_SWITCHES: tuple[Any, ...] = (
    _general, _Switch("mkldnn", "all"), _cudnn, _cudnn.conv, _cudnn.rnn, _cublas, _cpu_matrices,
)  # fmt: skip


def convolution_products() -> str:
    """Return how cuDNN's convolutions form float32 products, such as `tf32` or `ieee`.

    torch.backends.cudnn.conv.fp32_precision returns the same, at more cost.
    """
    value: str = torch._C._get_fp32_precision_getter("cuda", "conv")
    return value


@contextmanager
def products(precision: Products) -> Iterator[None]:
    """Form float32 products of convolutions and matrices on CUDA in TF32 or exactly, inside `with`.

    The old and the new switches agree inside. PyTorch raises where an old one is read while they do
    not, and torch.export and torch.compile read them. The switches are the process's: they hold for
    its other threads too. All are put back at the end.
    """
    held = [_take_switch(switch) for switch in _SWITCHES]
    old_convolutions, old_matrices = _read_old_convolutions(), _read_old_matrices()

    try:
        # The general switches keep their values; CUDA's, old and new, all take the same precision.
        for switch, value in zip(_SWITCHES[:2], held[:2], strict=True):
            switch.fp32_precision = value
        _set_old_switches(precision == "tf32", "high" if precision == "tf32" else "highest")
        for switch in (_cudnn, _cudnn.conv, _cudnn.rnn, _cublas):
            switch.fp32_precision = precision
        yield
    finally:
        # Old switches first: setting one also sets the new ones below it.
        _set_old_switches(old_convolutions, old_matrices)
        for switch, value in zip(_SWITCHES, held, strict=True):
            switch.fp32_precision = value


def _take_switch(switch: Any) -> str:
    """Return a switch's value and let it follow those above.

    Switches that are taken from the top down tell their own values, not inherited ones.
    """
    value: str = switch.fp32_precision
    switch.fp32_precision = "none"
    return value


def _read_old_convolutions() -> bool:
    """Return cuDNN's old switch, which can only be read while the new ones agree with it."""
    _cudnn.conv.fp32_precision = _cudnn.rnn.fp32_precision = "tf32"
    try:
        return bool(_cudnn.allow_tf32)
    except RuntimeError:
        return False


def _read_old_matrices() -> str:
    """Return the old switch of matrix products; it raises while the new ones differ from it."""
    # New ones that follow nothing agree with `highest`, those of TF32 with `high` or `medium`.
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        pass
    _cublas.fp32_precision = _cpu_matrices.fp32_precision = "tf32"
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return "medium"


def _set_old_switches(convolutions: bool, matrices: str) -> None:
    _cudnn.allow_tf32 = convolutions
    torch.set_float32_matmul_precision(matrices)
