import math
import re

import pytest
import torch
from torch.nn import functional as F

from tests.search_spaces.blocks.released import (
    MEAN,
    assert_computes,
    assert_keys_are_those_of,
    assert_passes_gradients,
    conv,
    conv_shapes,
    depthwise,
    gelu,
    load,
    make,
    norm_shapes,
    random_state,
    shuffle,
    sigmoid,
)

ARGS = {"expansion": 2, "activation": "gelu"}
# Of each branch: name of u, its kernel, dilation and padding; of v likewise.
BRANCHES = (
    ("conv3_7", 3, 3, 3, "conv3_13", 5, 3, 6),
    ("conv3_3", 3, 1, 1, "conv3_19", 7, 3, 9),
    ("conv3_5", 5, 1, 2, "conv3_21", 5, 5, 10),
)


def mixer_shapes(name):
    return (
        conv_shapes(f"{name}.conv1", 54, 27)
        | conv_shapes(f"{name}.dwconv", 27, 1, 3)
        | conv_shapes(f"{name}.conv2", 27, 27)
    )


def spatial_shapes(name):
    shapes = norm_shapes(f"{name}.layer_norm_pre", 27) | conv_shapes(f"{name}.encoder", 54, 27)
    for group, (near, k, _, _, far, m, _, _) in enumerate(BRANCHES, start=1):
        shapes |= conv_shapes(f"{name}.slka.{near}", 18, 1, k) | conv_shapes(
            f"{name}.slka.{far}", 18, 1, m
        )
        shapes |= conv_shapes(f"{name}.slka.mix{group}.0", 2, 36)
    shapes |= conv_shapes(f"{name}.slka.conv", 54, 54, bias=False) | conv_shapes(
        f"{name}.decoder", 27, 54
    )
    return shapes | norm_shapes(f"{name}.layer_norm_aft", 27) | mixer_shapes(f"{name}.sgfn")


def entropy_shapes(name):
    shapes = norm_shapes(f"{name}.layer_norm_pre", 27) | conv_shapes(f"{name}.conv1", 54, 27)
    shapes |= conv_shapes(f"{name}.attn.conv1", 6, 54) | conv_shapes(f"{name}.attn.conv2", 54, 6)
    shapes |= conv_shapes(f"{name}.conv2", 27, 54) | norm_shapes(f"{name}.layer_norm_aft", 27)
    return shapes | mixer_shapes(f"{name}.ffn")


def released_shapes():
    shapes = conv_shapes("simple_encoder", 27, 3, 3)
    for i in range(7):
        shapes |= spatial_shapes(f"pipeline.{i}.slkab") | entropy_shapes(f"pipeline.{i}.eab")
    return shapes | conv_shapes("after_pipe", 27, 27, 3) | conv_shapes("upsampler.0", 48, 27, 3)


def layer_norm(state, name, x):
    return F.layer_norm(
        x.permute(0, 2, 3, 1), (27,), state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-5
    ).permute(0, 3, 1, 2)


def mirrored(length, padding):
    """Places of a row and of its mirrored borders: 2 1 | 0 1 2 3 | 2 1."""
    places = torch.arange(-padding, length + padding).abs()
    return torch.where(places < length, places, 2 * (length - 1) - places)


def mirrored_conv(state, name, x, padding, dilation):
    rows, columns = (mirrored(length, padding) for length in x.shape[2:])
    return conv(state, name, x[:, :, rows][:, :, :, columns], groups=18, dilation=dilation)


def spatial_attention(state, name, t):
    maps = []
    for group, (near, _, d, p, far, _, e, q) in enumerate(BRANCHES, start=1):
        u = mirrored_conv(state, f"{name}.{near}", t[:, 18 * (group - 1) : 18 * group], p, d)
        v = mirrored_conv(state, f"{name}.{far}", u, q, e)
        w0, w1 = sigmoid(conv(state, f"{name}.mix{group}.0", torch.cat([u, v], 1))).split(1, 1)
        maps.append(w0 * u + w1 * v)
    return t * gelu(conv(state, f"{name}.conv", torch.cat(maps, 1)))


def channel_attention(state, name, t):
    squeezed = conv(state, f"{name}.conv1", t)
    deviation = squeezed - squeezed.mean((2, 3), keepdim=True)
    variance = deviation.square().sum((2, 3), keepdim=True) / (t.shape[2] * t.shape[3] - 1)
    entropy = 0.5 * torch.log(2 * math.pi * math.e * variance)
    return t * sigmoid(conv(state, f"{name}.conv2", entropy))


def mixer(state, name, n):
    a, b = conv(state, f"{name}.conv1", n).split(27, 1)
    return conv(state, f"{name}.conv2", depthwise(state, f"{name}.dwconv", b) * a)


def released_network(state, x):
    h = f = gelu(conv(state, "simple_encoder", x - MEAN, padding=1))
    for i in range(7):
        s, c = f"pipeline.{i}.slkab", f"pipeline.{i}.eab"
        t = gelu(conv(state, f"{s}.encoder", layer_norm(state, f"{s}.layer_norm_pre", h)))
        h = conv(state, f"{s}.decoder", spatial_attention(state, f"{s}.slka", t)) + h
        h = mixer(state, f"{s}.sgfn", layer_norm(state, f"{s}.layer_norm_aft", h)) + h
        t = gelu(conv(state, f"{c}.conv1", layer_norm(state, f"{c}.layer_norm_pre", h)))
        h = conv(state, f"{c}.conv2", channel_attention(state, f"{c}.attn", t)) + h
        h = mixer(state, f"{c}.ffn", layer_norm(state, f"{c}.layer_norm_aft", h)) + h
    return (
        shuffle(conv(state, "upsampler.0", conv(state, "after_pipe", h, padding=1) + f, padding=1))
        + MEAN
    )


@pytest.mark.parametrize("size", [(17, 23), (48, 64), (11, 11)])
def test_hfenet_is_its_formulas_with_released_keys(tmp_path, size):
    state = random_state(released_shapes())
    net = load("hfenet", state, tmp_path, "params")
    assert_computes(net, released_network, state, size)


def test_hfenet_covers_every_released_key():
    assert_keys_are_those_of("hfenet", released_shapes())


@pytest.mark.parametrize("size", [(10, 40), (40, 10), (3, 3)])
def test_hfeb_refuses_images_that_cannot_be_mirrored(size):
    message = (
        f"hfeb: an image of {size[0]}x{size[1]} pixels is too small, its largest kernel mirrors 10 pixels at "
        "each border; use one of at least 11x11"
    )
    block = make("hfeb", 6, **ARGS)
    with pytest.raises(ValueError, match=re.escape(message)):
        block(torch.randn(1, 6, *size))


@pytest.mark.parametrize(("channels", "expansion"), [(27, 2), (6, 1), (8, 3)])
def test_hfeb_passes_gradients(channels, expansion):
    torch.manual_seed(0)
    block = make("hfeb", channels, expansion=expansion, activation="gelu")
    assert_passes_gradients(block, torch.randn(2, channels, 17, 23))


@pytest.mark.parametrize(
    ("channels", "changes", "message"),
    [
        (
            28,
            {},
            "hfeb.expansion * channels must be a multiple of 6 (three branches, two halves of the mixer), "
            "got 56; use 54 or 60",
        ),
        (
            27,
            {"expansion": -1},
            "hfeb.expansion must be a whole number of at least 1, got -1; such as 2",
        ),
        (27, {"activation": "mish"}, "activation 'mish' is not known; known: silu, relu"),
    ],
)
def test_hfeb_says_what_is_wrong(channels, changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make("hfeb", channels, **ARGS | changes)
