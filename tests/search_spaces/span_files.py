"""State dicts of SPAN with its training branches, under the names of its repository."""

import math

import torch


def convs(channels, num_blocks):
    """The convolutions that its class holds as Conv3XC: input and output channels by name."""
    inner = {
        f"block_{i}.c{j}_r": (channels, channels)
        for i in range(1, num_blocks + 1)
        for j in (1, 2, 3)
    }
    return {"conv_1": (3, channels), "conv_2": (channels, channels)} | inner


def layer(name, in_channels, channels, kernel, generator):
    bound = 1 / math.sqrt(in_channels * kernel**2)
    shapes = {
        f"{name}.weight": (channels, in_channels, kernel, kernel),
        f"{name}.bias": (channels,),
    }
    return {
        key: bound * (2 * torch.rand(shape, generator=generator) - 1)
        for key, shape in shapes.items()
    }


def span_state(gain=2, *, stored=None, channels=28, num_blocks=6, scale=4, norm=True):
    """A SPAN of random branches under the names of its repository; stored: also eval_conv."""
    generator = torch.Generator().manual_seed(0)
    state = layer("conv_cat", 4 * channels, channels, 1, generator)
    state |= layer("upsampler.0", channels, 3 * scale**2, 3, generator)
    state |= {} if norm else {"no_norm": torch.zeros(1)}
    for name, (a, b) in convs(channels, num_blocks).items():
        state |= layer(f"{name}.sk", a, b, 1, generator) | layer(
            f"{name}.conv.0", a, gain * a, 1, generator
        )
        state |= layer(f"{name}.conv.1", gain * a, gain * b, 3, generator)
        state |= layer(f"{name}.conv.2", gain * b, b, 1, generator)
        if stored == "same":
            weight, bias = merged(state, name)
            state |= {f"{name}.eval_conv.weight": weight, f"{name}.eval_conv.bias": bias}
        elif stored == "other":
            state |= layer(f"{name}.eval_conv", a, b, 3, generator)
    return state


def merged(state, name):
    """Section 0 of the reference: W3 W2 W1 + centre(Wsk), W3 (sum W2 b1 + b2) + b3 + bsk."""
    w1, w2, w3, wsk = (
        state[f"{name}.{part}.weight"] for part in ("conv.0", "conv.1", "conv.2", "sk")
    )
    b1, b2, b3, bsk = (
        state[f"{name}.{part}.bias"] for part in ("conv.0", "conv.1", "conv.2", "sk")
    )
    weight = torch.einsum("op,pqyx,qi->oiyx", w3[:, :, 0, 0], w2, w1[:, :, 0, 0])
    weight[:, :, 1, 1] += wsk[:, :, 0, 0]
    return weight, w3[:, :, 0, 0] @ (w2.sum((2, 3)) @ b1 + b2) + b3 + bsk


def merge_all(state):
    """The file with merged convolutions in place of the branches, as released for inference."""
    held = [key.removesuffix(".sk.weight") for key in state if key.endswith(".sk.weight")]
    plain = {
        key: value
        for key, value in state.items()
        if not key.startswith(tuple(f"{one}." for one in held))
    }
    for name in held:
        plain[f"{name}.eval_conv.weight"], plain[f"{name}.eval_conv.bias"] = merged(state, name)
    return plain
