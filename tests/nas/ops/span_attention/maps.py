"""Maps in every layout, what the attentions mean in float64, and how far a result is from it."""

import torch

from nas.ops.span_attention import reference

LAYOUTS = ("nchw", "channels_last", "slice", "channels_last_slice")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def make_map(shape, layout, dtype, generator):
    """A map of random numbers; slices lie inside memory of five more channels."""
    num, channels, height, width = shape
    spare = 5 if "slice" in layout else 0
    value = torch.randn(num, channels + spare, height, width, generator=generator).to(DEVICE, dtype)
    if "channels_last" in layout:
        value = value.contiguous(memory_format=torch.channels_last)
    return value[:, 2 : 2 + channels] if spare else value


def make_inputs(shape, dtype, *, layouts=("nchw", "nchw", "nchw"), seed=0):
    """A gradient of the result, x, f, W and b."""
    generator = torch.Generator().manual_seed(seed)
    maps = [make_map(shape, layout, dtype, generator) for layout in layouts]
    channels = shape[1]
    weight = torch.randn(channels, channels, 1, 1, generator=generator) / channels**0.5
    return (
        *maps,
        weight.to(DEVICE, dtype),
        torch.randn(channels, generator=generator).to(DEVICE, dtype),
    )


def meaning(grad, x, f, weight, bias):
    """Results and gradients of both attentions, by autograd in float64."""
    given = [value.detach().cpu().double().requires_grad_() for value in (x, f, weight, bias)]
    grad = grad.cpu().double()
    learned = reference.span_attention(*given)
    free = reference.parameter_free_attention(*given[:2])
    return {
        "span_attention": (learned, *torch.autograd.grad(learned, given, grad)),
        "parameter_free_attention": (free, *torch.autograd.grad(free, given[:2], grad)),
    }


def worst_error(found, meant):
    """The largest difference over the largest value; NaN anywhere gives NaN."""
    difference = (found.detach().cpu().double() - meant).abs().max()
    return (difference / meant.abs().max().clamp_min(1e-300)).item()
