"""Make an attention by its name."""

from torch import nn

from search_spaces.layers.attention import ATTENTIONS


def make_attention(name: str, channels: int) -> nn.Module:
    """Return a new attention for features of some channels.

    Raises:
        ValueError: no attention has the name; the message lists the known ones.
    """
    if name not in ATTENTIONS:
        raise ValueError(f"attention {name!r} is not known; known: {', '.join(ATTENTIONS)}")
    return ATTENTIONS[name](channels)
