"""HAESR: its released keys, and its function against a slow second writing of the formulas."""

import re

import pytest
import torch

from search_spaces import build, published
from search_spaces.checkpoints.official import load_official
from tests.search_spaces.blocks.haesr.naive_haesr import (
    Naive,
    block_prefix,
    released_shapes,
    released_state,
)


def loaded(folder, state, dtype=torch.float64):
    """Our network with these weights, given as the released file."""
    torch.save({"params_ema": state}, folder / "haesr.pth")
    net = build(published("haesr")).to(dtype).eval()
    load_official(net, folder / "haesr.pth")
    return net


@pytest.fixture(scope="module")
def state():
    return released_state(0)


@pytest.fixture(scope="module")
def net(state, tmp_path_factory):
    return loaded(tmp_path_factory.mktemp("haesr"), state)


def test_released_names_cover_the_network(net, state):
    """Loading is strict, so no key is missing or left over.

    Here none takes the place of another.
    """
    weights = {name: value for name, value in state.items() if not name.endswith("_indices")}
    assert sum(value.numel() for value in weights.values()) == 352_869
    assert len(weights) == len(net.state_dict())
    ours = sorted(value.double().sum().item() for value in net.state_dict().values())
    assert ours == pytest.approx(sorted(value.sum().item() for value in weights.values()))


@pytest.mark.parametrize(
    "name",
    [
        "block0.residual_layer.0.SGA2.attn.rel_pos_bias.weight",
        "block2.residual_layer.BlockC.cttn2.temperature",
        "block1.esa.conv_f.bias",
    ],
)
def test_a_released_file_without_a_key_is_refused(tmp_path, state, name):
    with pytest.raises(ValueError, match=re.escape(f"missing {name}")):
        loaded(tmp_path, {key: value for key, value in state.items() if key != name})


@pytest.mark.parametrize(
    "name", ["block0.residual_layer.pw1.weight", "block1.residual_layer.0.pw1.weight"]
)
def test_the_first_group_alone_has_a_name_more(tmp_path, state, name):
    with pytest.raises(ValueError, match=re.escape(f"unexpected {name}")):
        loaded(tmp_path, state | {name: torch.zeros(48, 48, 1, 1)})


def test_a_released_file_with_another_key_is_refused(tmp_path, state):
    more = state | {"block0.residual_layer.0.SLA1.attn.to_v.weight": torch.zeros(36, 36)}
    with pytest.raises(
        ValueError, match=r"unexpected block0\.residual_layer\.0\.SLA1\.attn\.to_v\.weight"
    ):
        loaded(tmp_path, more)


def test_a_kernel_of_another_direction_is_refused(tmp_path, state):
    key = "block1.residual_layer.LB1.PLKB.DWConv_1xK.weight"
    with pytest.raises(ValueError, match=r"has shape \(12, 1, 31, 1\) instead of \(12, 1, 1, 31\)"):
        loaded(tmp_path, state | {key: state[key].mT})


def test_axes_of_one_are_no_difference(tmp_path, net, state):
    name = "block1.residual_layer.BlockC."
    changes = {f"{name}cttn1.temperature": (1,), f"{name}canorm1.weight": (1, 48, 1, 1)}
    other = loaded(
        tmp_path, state | {key: state[key].reshape(shape) for key, shape in changes.items()}
    )
    assert all(
        torch.equal(value, other.state_dict()[key]) for key, value in net.state_dict().items()
    )


@pytest.mark.parametrize("size", [(16, 24), (17, 23), (40, 32)])
def test_network_is_what_the_formulas_say(net, state, size):
    """24x24 and less: grids 1 to 3 pixels wide, and nearly every window touches the border."""
    images = torch.rand(
        2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    with torch.no_grad():
        wanted = torch.stack([Naive(state).network(image) for image in images])
        torch.testing.assert_close(net(images), wanted, rtol=0, atol=1e-10)


def test_network_in_float32_is_what_the_formulas_say(state, tmp_path):
    net = loaded(tmp_path, state, torch.float32)
    image = torch.rand(3, 24, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        wanted = Naive(state).network(image).float()
        peak = float(wanted.abs().max())  # random weights give more than an image's 1
        torch.testing.assert_close(net(image[None].float())[0], wanted, rtol=0, atol=1e-5 * peak)


@pytest.mark.parametrize("size", [(8, 8), (8, 40), (24, 8)])
def test_blocks_of_one_window_are_what_the_formulas_say(net, state, size):
    """Where the distance in the grid is 1 the shift is 0."""
    x = torch.randn(48, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    context = {}
    with torch.no_grad():
        wanted, maps = Naive(state).body(block_prefix(0), x, None)
        shared, _ = Naive(state).body(block_prefix(1), x, maps)
        torch.testing.assert_close(
            net.blocks["1"].blocks[0](x[None], context)[0], wanted, rtol=0, atol=1e-10
        )
        found = net.blocks["2"].blocks[0](x[None], context)[0]
        torch.testing.assert_close(found, shared, rtol=0, atol=1e-10)
    for ours, theirs in zip(context["maps"], maps.values(), strict=True):
        torch.testing.assert_close(ours, torch.stack(theirs), rtol=0, atol=1e-12)


def test_every_weight_has_a_part_in_the_output(net):
    net.zero_grad()
    net(torch.rand(1, 3, 24, 32, dtype=torch.float64)).square().sum().backward()
    still = [
        name for name, value in net.named_parameters() if value.grad is None or not value.grad.any()
    ]
    assert not still


def test_released_places_of_the_keys_are_ours(net, state):
    """The network builds them; the released buffers are known, and not read."""
    names = [name for name in released_shapes() if name.endswith("sample_indices")]
    assert len(names) == 9
    for name in names:
        block, stage = int(name[5]), int(name.split("SLA")[1][0])
        tokens = net.blocks[str(block + 1)].blocks[0].body.stages[stage - 1].window.attention.tokens
        assert torch.equal(16 * tokens.rows + tokens.columns, state[name])


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (
            (4, 24),
            "image of 4x24 pixels is too small: to be mirrored to a multiple of 8 it needs more than 4x0",
        ),
        (
            (8, 24),
            "esa needs features of at least 15x15 pixels for its 7x7 pooling after a convolution of",
        ),
    ],
)
def test_images_that_are_too_small_are_refused(size, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build(published("haesr"))(torch.rand(1, 3, *size))
