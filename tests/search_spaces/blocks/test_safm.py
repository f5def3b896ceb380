import re

import pytest
import torch

from tests.search_spaces.blocks.released import (
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
)

ARGS = {"num_levels": 4, "expansion": 2, "activation": "gelu"}


def released_shapes():
    shapes = conv_shapes("to_feat", 40, 3, 3)
    for i in range(15):
        for norm in ("norm1", "norm2"):
            shapes |= norm_shapes(f"blocks.{i}.{norm}.norm", 40)
        for level in range(4):
            shapes |= conv_shapes(f"blocks.{i}.safm.mfr.{level}", 10, 1, 3)
        shapes |= conv_shapes(f"blocks.{i}.safm.aggr", 40, 40)
        shapes |= conv_shapes(f"blocks.{i}.ffn.0", 80, 40) | conv_shapes(
            f"blocks.{i}.ffn.2", 40, 80
        )
    return shapes | conv_shapes("upsampler.0", 48, 40, 3)


def group_norm(state, name, x):
    """Mean and variance of all channels and pixels of each image."""
    flat = x.flatten(1)
    mean, variance = flat.mean(1), flat.var(1, correction=0)
    normal = (x - mean.view(-1, 1, 1, 1)) / torch.sqrt(variance + 1e-5).view(-1, 1, 1, 1)
    return normal * state[f"{name}.weight"].view(1, -1, 1, 1) + state[f"{name}.bias"].view(
        1, -1, 1, 1
    )


def pool(x, height, width):
    """Bin i covers rows floor(i H / p) to ceil((i + 1) H / p) - 1, columns likewise."""
    rows = [
        x[:, :, i * x.shape[2] // height : -(-(i + 1) * x.shape[2] // height)].amax(2)
        for i in range(height)
    ]
    x = torch.stack(rows, 2)
    columns = [
        x[..., i * x.shape[3] // width : -(-(i + 1) * x.shape[3] // width)].amax(3)
        for i in range(width)
    ]
    return torch.stack(columns, 3)


def nearest(x, height, width):
    rows = torch.arange(height) * x.shape[2] // height
    columns = torch.arange(width) * x.shape[3] // width
    return x[:, :, rows][:, :, :, columns]


def modulation(state, name, n):
    height, width = n.shape[2:]
    maps = [depthwise(state, f"{name}.mfr.0", n[:, :10])]
    for i in (1, 2, 3):
        small = pool(n[:, 10 * i : 10 * i + 10], max(1, height // 2**i), max(1, width // 2**i))
        maps.append(nearest(depthwise(state, f"{name}.mfr.{i}", small), height, width))
    return gelu(conv(state, f"{name}.aggr", torch.cat(maps, 1))) * n


def released_network(state, x):
    h = f = conv(state, "to_feat", x, padding=1)
    for i in range(15):
        name = f"blocks.{i}"
        h = modulation(state, f"{name}.safm", group_norm(state, f"{name}.norm1.norm", h)) + h
        mixed = gelu(conv(state, f"{name}.ffn.0", group_norm(state, f"{name}.norm2.norm", h)))
        h = conv(state, f"{name}.ffn.2", mixed) + h
    bilinear = torch.nn.functional.interpolate(
        x, scale_factor=4, mode="bilinear", align_corners=False
    )
    return shuffle(conv(state, "upsampler.0", h + f, padding=1)) + bilinear


@pytest.mark.parametrize("size", [(17, 23), (48, 64), (5, 2)])
def test_safmn_is_its_formulas_with_released_keys(tmp_path, size):
    state = random_state(released_shapes())
    net = load("safmn_deep15", state, tmp_path, "params")
    assert_computes(net, released_network, state, size)


def test_safmn_covers_every_released_key():
    assert_keys_are_those_of("safmn_deep15", released_shapes())


@pytest.mark.parametrize("size", [(17, 23), (1, 1), (3, 40)])
@pytest.mark.parametrize("num_levels", [1, 2, 5])
def test_safm_takes_any_size(num_levels, size):
    torch.manual_seed(0)
    block = make("safm", 20, **ARGS | {"num_levels": num_levels})
    with torch.no_grad():
        out = block(torch.randn(2, 20, *size))
    assert out.shape == (2, 20, *size)
    assert out.isfinite().all()


@pytest.mark.parametrize("activation", ["gelu", "silu"])
def test_safm_passes_gradients(activation):
    torch.manual_seed(0)
    assert_passes_gradients(
        make("safm", 20, **ARGS | {"activation": activation}), torch.randn(2, 20, 17, 23)
    )


@pytest.mark.parametrize(
    ("channels", "changes", "message"),
    [
        (
            42,
            {},
            "safm.channels must be a multiple of 4 (num_levels=4 groups), got 42; use 40 or 44",
        ),
        (2, {}, "safm.channels must be a multiple of 4 (num_levels=4 groups), got 2; use 4"),
        (
            40,
            {"num_levels": 0},
            "safm.num_levels must be a whole number of at least 1, got 0; such as 4",
        ),
        (40, {"expansion": 1.5}, "safm.expansion must be a whole number, got 1.5"),
        (40, {"expansion": True}, "safm.expansion must be a whole number, got True"),
        (40, {"activation": "mish"}, "activation 'mish' is not known; known: silu, relu"),
    ],
)
def test_safm_says_what_is_wrong(channels, changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make("safm", channels, **ARGS | changes)
