"""How a SPAN-style block weighs its features: `attend(x, f)` with the block's input x and its features f.

Every variant gives (x + f) times a gate that is made from f alone; x and f are (N, C, H, W). One file a
family, one line in the table; a variant keeps its argument list, (channels), so that a name says all of it.
"""

from torch import nn

from search_spaces.layers.attention.entropy import Entropy
from search_spaces.layers.attention.esa import SpatialESA
from search_spaces.layers.attention.gates import (
    HardParameterFree,
    LearnedDiagonal,
    LearnedPointwise,
    ParameterFree,
    Residual,
)
from search_spaces.layers.attention.mamba_gate import MambaGate
from search_spaces.layers.attention.variance import Variance

VALUEWISE: dict[str, type[nn.Module]] = {  # a pixel's gate is made of that pixel: fused kernels
    "parameter_free": ParameterFree,
    "hard_parameter_free": HardParameterFree,
    "conv1x1": LearnedPointwise,
    "diagonal": LearnedDiagonal,
    "none": Residual,
}
ATTENTIONS: dict[str, type[nn.Module]] = VALUEWISE | {
    "entropy": Entropy,
    "esa": SpatialESA,
    "mamba_gate": MambaGate,
    "variance": Variance,
}

LEARNED_GATES = (LearnedPointwise, LearnedDiagonal, Variance)
PARAMETER_FREE_GATES = (ParameterFree, HardParameterFree)
