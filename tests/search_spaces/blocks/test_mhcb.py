import json
import re
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from search_spaces.blocks.mhcb import pooling
from tests.search_spaces.blocks.released import (
    assert_computes,
    assert_keys_are_those_of,
    assert_passes_gradients,
    conv,
    depthwise,
    load,
    make,
    random_state,
    shuffle,
    sigmoid,
)

ARGS = {"num_heads": 2, "expansion": 2}
GOLDEN = Path(__file__).parents[4] / "shared" / "reference" / "golden" / "team17_AMCANet.json"
needs_golden = pytest.mark.skipif(
    not GOLDEN.exists(), reason=f"the reference is not there: {GOLDEN}"
)


def released_shapes():
    tensors = json.loads(GOLDEN.read_text())["state_dict"]
    return {key: tuple(tensor["shape"]) for key, tensor in tensors.items()}


def l2_normalised(x):
    return x / x.square().sum(1, keepdim=True).sqrt().clamp(min=1e-12)


def head(state, name, n, stride):
    q, v = conv(state, f"{name}.conv1x1", n).split(16, 1)
    r = t = depthwise(state, f"{name}.conv3x3_1", q)
    if stride:
        t = r.unfold(2, 2 * stride - 1, stride).unfold(3, 2 * stride - 1, stride).amax((4, 5))
    t = depthwise(state, f"{name}.conv3x3_3", depthwise(state, f"{name}.conv3x3_2", t))
    t = conv(state, f"{name}.conv1x1_2", t)
    if stride:
        t = F.interpolate(t, n.shape[2:], mode="bilinear", align_corners=False)
    return sigmoid(conv(state, f"{name}.conv1x1_3", t + r)) * depthwise(
        state, f"{name}.conv3x3_v", v
    )


def selective_gate(state, name, n):
    a, b = conv(state, f"{name}.conv1x1_1", n).split(32, 1)
    gate = sigmoid(conv(state, f"{name}.conv1x1_2", depthwise(state, f"{name}.conv3x3_2", a)))
    return conv(state, f"{name}.conv1x1_3", gate * b)


def released_network(state, x):
    h = f = conv(state, "head", x, padding=1)
    for i in range(7):
        n = l2_normalised(h)
        heads = [
            head(state, f"blocks.{i}.amca.heads.{k}", n, stride) for k, stride in ((0, 0), (1, 4))
        ]
        h = conv(state, f"blocks.{i}.amca.fusion_conv", torch.cat(heads, 1)) + h
        h = selective_gate(state, f"blocks.{i}.fsg", l2_normalised(h)) + h
    return shuffle(conv(state, "tail", conv(state, "conv1x1", h) + f, padding=1))


@needs_golden
@pytest.mark.parametrize("size", [(17, 23), (48, 64), (7, 7)])
def test_amcanet_is_its_formulas_with_released_keys(tmp_path, size):
    state = random_state(released_shapes())
    net = load("amcanet", state, tmp_path, "params_ema")
    assert_computes(net, released_network, state, size)


@needs_golden
def test_amcanet_covers_every_released_key():
    assert_keys_are_those_of("amcanet", released_shapes())


def test_heads_pool_ever_more():
    assert [pooling(k) for k in range(6)] == [(0, 1), (4, 7), (8, 15), (12, 23), (16, 31), (16, 31)]


@pytest.mark.parametrize(("num_heads", "least"), [(1, 1), (2, 7), (4, 23), (6, 31)])
def test_mhcb_refuses_images_that_its_last_head_cannot_pool(num_heads, least):
    block = make("mhcb", 12, **ARGS | {"num_heads": num_heads})
    with torch.no_grad():
        assert block(torch.randn(1, 12, least, least)).isfinite().all()
    for size in ((least - 1, 40), (40, least - 1)) if least > 1 else ():
        message = (
            f"mhcb: an image of {size[0]}x{size[1]} pixels is too small, its last head pools over "
            f"{least}x{least}; use one of at least {least}x{least}"
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            block(torch.randn(1, 12, *size))


@pytest.mark.parametrize(("num_heads", "expansion"), [(2, 2), (1, 1), (2, 3)])
def test_mhcb_passes_gradients(num_heads, expansion):
    torch.manual_seed(0)
    block = make("mhcb", 20, num_heads=num_heads, expansion=expansion)
    assert_passes_gradients(block, torch.randn(2, 20, 17, 23))


@pytest.mark.parametrize(
    ("channels", "changes", "message"),
    [
        (33, {}, "mhcb.channels must be a multiple of 2 (num_heads=2), got 33; use 32 or 34"),
        (
            32,
            {"num_heads": 0},
            "mhcb.num_heads must be a whole number of at least 1, got 0; such as 2",
        ),
        (32, {"expansion": 0.5}, "mhcb.expansion must be a whole number, got 0.5"),
        (
            33,
            {"num_heads": 3, "expansion": 1},
            "mhcb.expansion * channels must be a multiple of 2 (two halves of the gate), got 33; use 32",
        ),
    ],
)
def test_mhcb_says_what_is_wrong(channels, changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make("mhcb", channels, **ARGS | changes)
