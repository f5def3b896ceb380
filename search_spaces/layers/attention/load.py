"""Find the class that a line of `search_spaces.attentions` names."""

import importlib

from torch import nn

from search_spaces.attentions import Attention

PACKAGE = "search_spaces.layers.attention"


def load_class(attention: Attention) -> type[nn.Module]:
    """Return the class of an attention.

    The table spells it as text: so it can be read without torch, and a new attention needs one
    line.
    """
    module = importlib.import_module(f"{PACKAGE}.{attention.file}")
    made: type[nn.Module] = getattr(module, attention.class_name)
    return made
