"""A small architecture for tests, of the search space alone: it loads where no more than torch is."""

from search_spaces.spaces.span import SpanSpace


def tiny_spec(**changes):
    """The first member of a space of small networks."""
    values = {
        "scale": 4, "entry": ["stem"], "normalise": True, "num_blocks": [1], "channels": [8],
        "block_channels": [1.0], "tail_channels": [1.0], "attention": ["parameter_free"],
        "activation": ["silu"], "bias": [True], "skip": ["none"], "taps": ["last"], "head": ["conv"],
    }  # fmt: skip
    values |= {
        key: [value] if isinstance(values[key], list) else value for key, value in changes.items()
    }
    return SpanSpace(**values).sample(None)
