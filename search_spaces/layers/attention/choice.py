"""An attention by its name."""

from torch import nn

from search_spaces.layers.attention import ATTENTIONS


def make_attention(name: str, channels: int) -> nn.Module:
    """The attention of that name.

    Raises:
        ValueError: there is none; the message lists the known ones.
    """
    if name not in ATTENTIONS:
        raise ValueError(f"attention {name!r} is not known; known: {', '.join(ATTENTIONS)}")
    return ATTENTIONS[name](channels)
