"""A convolution with its activation or attention: the public functions."""

from nas.ops.conv_act.op import conv_act
from nas.ops.conv_act.reference import ATTENTIONS, EPILOGUES, GATED, reference

__all__ = ["ATTENTIONS", "EPILOGUES", "GATED", "conv_act", "reference"]
