"""The attentions that a SPAN-style block can end with, by name; torch is not needed to list them.

This table is the one place that spells their names: spaces offer them, `layers/attention` builds
them. To add one, write its class in a file of `search_spaces/layers/attention/` and add a line
here.
"""

from dataclasses import dataclass
from typing import Literal

Gate = Literal["parameter_free", "learned", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Where the class of an attention stands, and what training and kernels have to know of it.

    Attributes:
        file: module of `search_spaces.layers.attention`.
        class_name: class in that module; it takes (channels) and computes attend(x, f).
        valuewise: a pixel's gate depends on that pixel alone, so a fused kernel can compute it.
        gate: how a network starts it (`search_spaces.initialise`). `parameter_free`: open, by a
            bias of the features under it; `learned`: nearly constant, by its own weights; `other`:
            as its class does.
    """

    file: str
    class_name: str
    valuewise: bool = False
    gate: Gate = "other"


# The order is that of listings and messages. Names are kept in records: never rename one.
ATTENTIONS: dict[str, Attention] = {
    "parameter_free": Attention(
        file="gates", class_name="ParameterFree", valuewise=True, gate="parameter_free"
    ),
    "hard_parameter_free": Attention(
        file="gates", class_name="HardParameterFree", valuewise=True, gate="parameter_free"
    ),
    "conv1x1": Attention(
        file="gates", class_name="LearnedPointwise", valuewise=True, gate="learned"
    ),
    "diagonal": Attention(
        file="gates", class_name="LearnedDiagonal", valuewise=True, gate="learned"
    ),
    "none": Attention(file="gates", class_name="Residual", valuewise=True),
    "entropy": Attention(file="entropy", class_name="Entropy"),
    "esa": Attention(file="esa", class_name="SpatialESA"),
    "mamba_gate": Attention(file="mamba_gate", class_name="MambaGate"),
    "variance": Attention(file="variance", class_name="Variance", gate="learned"),
}

ATTENTION_NAMES = tuple(ATTENTIONS)
