"""Triton's interpreter with the products of tensor cores: operands of TF32 cut to 10 bits of mantissa."""

import numpy as np
import pytest


@pytest.fixture
def tensor_cores(monkeypatch):
    """Cut float32 operands of products in TF32; the interpreter itself keeps all their bits."""
    from triton._C.libtriton import ir
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    exact = InterpreterBuilder.create_dot

    def cut(operand):
        bits = np.ascontiguousarray(operand.data).view(np.uint32) & np.uint32(0xFFFFE000)
        return TensorHandle(bits.view(np.float32), operand.dtype)

    def create_dot(self, a, b, d, input_precision, *rest):
        if input_precision == ir.INPUT_PRECISION.TF32 and a.data.dtype == np.float32:
            a, b = cut(a), cut(b)
        return exact(self, a, b, d, input_precision, *rest)

    monkeypatch.setattr(InterpreterBuilder, "create_dot", create_dot)
