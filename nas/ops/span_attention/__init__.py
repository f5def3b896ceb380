"""SPAN's and SPANV2's attention as fused operators: the public functions."""

from nas.ops.span_attention.op import parameter_free_attention, span_attention

__all__ = ["parameter_free_attention", "span_attention"]
