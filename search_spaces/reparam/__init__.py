"""Training-time forms of a convolution: branches are held, one kernel is computed."""

from search_spaces.reparam.base import Kernel, RepConv2d, rep_convs
from search_spaces.reparam.conv3xc import Conv3XC
from search_spaces.reparam.forms import FORMS, TrainingConv

__all__ = ["FORMS", "Conv3XC", "Kernel", "RepConv2d", "TrainingConv", "rep_convs"]
