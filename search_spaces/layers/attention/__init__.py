"""The attentions of SPAN-style blocks: `attend(x, f)` of a block's input x and its features f.

Every variant gives (x + f) times a gate that is made from f alone; x and f are (N, C, H, W). One
file holds a family of them. Their names stand in `search_spaces.attentions`, which needs no torch;
the tables here are made from it. A variant keeps its argument list, (channels), so that a name says
all of it.
"""

from torch import nn

from search_spaces import attentions
from search_spaces.layers.attention.load import load_class

ATTENTIONS: dict[str, type[nn.Module]] = {
    name: load_class(attention) for name, attention in attentions.ATTENTIONS.items()
}

# Those with fused kernels: the gate of a pixel is made from that pixel alone.
VALUEWISE: dict[str, type[nn.Module]] = {
    name: ATTENTIONS[name] for name, line in attentions.ATTENTIONS.items() if line.valuewise
}

LEARNED_GATES = tuple(
    ATTENTIONS[name] for name, line in attentions.ATTENTIONS.items() if line.gate == "learned"
)
PARAMETER_FREE_GATES = tuple(
    ATTENTIONS[name]
    for name, line in attentions.ATTENTIONS.items()
    if line.gate == "parameter_free"
)
