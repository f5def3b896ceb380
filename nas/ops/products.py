"""How float32 products are formed on CUDA, set for a while: PyTorch has old and new switches for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

Products = Literal["tf32", "ieee"]


class _Switch:
    """A new switch that has no name of its own: setting torch.backends.mkldnn's sets the general one."""

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
# One that says "none" follows those above it: that of its device, then the general one.
_SWITCHES: tuple[Any, ...] = (
    _general, _Switch("mkldnn", "all"), _cudnn, _cudnn.conv, _cudnn.rnn, _cublas, _cpu_matrices,
)  # fmt: skip


def convolution_products() -> str:
    """How cuDNN's convolutions form float32 products, as torch.backends.cudnn.conv says at more cost."""
    value: str = torch._C._get_fp32_precision_getter("cuda", "conv")
    return value


@contextmanager
def products(precision: Products) -> Iterator[None]:
    """Form float32 products of convolutions and matrices on CUDA in TF32 or exactly; then put all back.

    The old and the new switches agree inside. PyTorch raises where an old one is read while they do not, and
    torch.export and torch.compile read them.

    The switches are those of the process: another thread meets them too.
    """
    held = [_take(switch) for switch in _SWITCHES]
    old_convolutions, old_matrices = _old_convolutions(), _old_matrices()
    try:
        for switch, value in zip(_SWITCHES[:2], held[:2], strict=True):
            switch.fp32_precision = value
        _set_old(precision == "tf32", "high" if precision == "tf32" else "highest")
        for switch in (_cudnn, _cudnn.conv, _cudnn.rnn, _cublas):
            switch.fp32_precision = precision
        yield
    finally:
        _set_old(old_convolutions, old_matrices)
        for switch, value in zip(_SWITCHES, held, strict=True):
            switch.fp32_precision = value


def _take(switch: Any) -> str:
    """The value of a switch, which then follows those above: taken from the top, each tells its own."""
    value: str = switch.fp32_precision
    switch.fp32_precision = "none"
    return value


def _old_convolutions() -> bool:
    """cuDNN's old switch, which can be read where the new ones agree with it alone."""
    _cudnn.conv.fp32_precision = _cudnn.rnn.fp32_precision = "tf32"
    try:
        return bool(_cudnn.allow_tf32)
    except RuntimeError:
        return False


def _old_matrices() -> str:
    """The old switch of matrix products; that the new ones follow nothing agrees with `highest`."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        pass
    _cublas.fp32_precision = _cpu_matrices.fp32_precision = "tf32"
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return "medium"


def _set_old(convolutions: bool, matrices: str) -> None:
    _cudnn.allow_tf32 = convolutions
    torch.set_float32_matmul_precision(matrices)
