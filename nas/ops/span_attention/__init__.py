"""SPAN's and SPANV2's attention as fused operators; x, f: (N, C, H, W), weight: (C, C, 1, 1), bias: (C,)."""

from nas.ops.span_attention.op import parameter_free_attention, span_attention

__all__ = ["parameter_free_attention", "span_attention"]
