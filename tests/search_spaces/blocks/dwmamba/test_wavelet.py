import re

import pytest
import torch

from search_spaces.blocks.dwmamba.wavelet import Wavelet
from search_spaces.layers.conv import plain_conv
from search_spaces.layers.pad import pad_to_multiple
from tests.search_spaces.blocks.dwmamba.wavelets import SIZES, trained, wavelet


@pytest.mark.parametrize("training", [False, True])
def test_block_takes_any_size_with_finite_output_and_gradients(training):
    torch.manual_seed(0)
    block = wavelet().train(training)
    x = torch.randn(2, 8, 17, 23, requires_grad=True)
    out = block(x)
    assert out.shape == x.shape
    out.square().mean().backward()
    for value in (x, *block.parameters()):
        assert value.grad is not None
        assert value.grad.isfinite().all()
    route = block.low.scan.route
    assert all(p.grad.abs().max() > 0 for p in route.parameters())  # through the hard choice


def test_every_parameter_has_a_gradient_once_none_is_zero():
    block = trained(wavelet())
    block(torch.randn(2, 8, 16, 24)).square().mean().backward()
    assert [name for name, p in block.named_parameters() if not p.grad.abs().max() > 0] == []


@pytest.mark.parametrize("size", [(17, 23), (1, 1), (3, 40), (16, 8)])
def test_block_pads_as_the_network_of_dwmamba_does(size):
    block, x = trained(wavelet()), torch.randn(1, 8, *size)
    height, width = size
    with torch.no_grad():
        padded = block(pad_to_multiple(x, 8, "symmetric"))
        assert torch.equal(block(x), padded[:, :, :height, :width])


def test_images_of_a_batch_do_not_see_each_other():
    block, x = trained(wavelet()), torch.randn(3, 8, 16, 24)
    with torch.no_grad():
        alone = torch.cat([block(image[None]) for image in x])
        torch.testing.assert_close(block(x), alone, rtol=1e-4, atol=1e-4)


def test_evaluation_without_noise_is_repeatable():
    block, x = trained(wavelet()), torch.randn(1, 8, 16, 16)
    with torch.no_grad():
        first = block(x)
        torch.manual_seed(1)
        state = torch.get_rng_state()
        assert torch.equal(block(x), first)
        assert torch.equal(torch.get_rng_state(), state)  # nothing was drawn


@pytest.mark.parametrize(("noise", "training"), [(True, False), (False, True), (True, True)])
def test_noise_differs_from_seed_to_seed(noise, training):
    block, x = trained(wavelet(noise=noise)).train(training), torch.randn(1, 8, 16, 16)
    found = []
    for seed in (0, 1, 0):
        torch.manual_seed(seed)
        with torch.no_grad():
            found.append(block(x))
    assert torch.equal(found[0], found[2])
    assert (found[0] - found[1]).abs().max() > 1e-3


def test_names_of_parameters_do_not_depend_on_noise_and_shift():
    keys = set(wavelet().state_dict())
    assert set(wavelet(noise=True, shift=0).state_dict()) == keys


def test_starts_are_those_of_the_released_class():
    torch.manual_seed(0)
    block = wavelet(48, inner=96, hidden=96, num_heads=4, rank=32, num_classes=64)
    scan = block.low.scan
    zeros = [
        block.widen.bias,
        scan.guide_gate,
        scan.position_gate,
        scan.route[0].bias,
        block.low.attention.qkv.bias,
    ]
    assert not any(value.any() for value in zeros)
    assert (block.low.scale1 == 1e-4).all()
    assert (block.low.scale2 == 1e-4).all()
    assert (block.high.scale.weight == 0.1).all()
    assert block.select.activation.weight.item() == 0.25
    for linear in (scan.route[0], scan.out_proj, block.low.attention.qkv, block.low.feed1.expand):
        assert linear.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert scan.class_prompts.abs().max() <= 1 / 64
    assert scan.state_prompts.abs().max() <= 1 / 32
    assert block.narrow.out_channels == 12  # a quarter of the channels


@pytest.mark.parametrize(("channels", "fine"), [(8, 12), (48, 12), (63, 12), (64, 16), (100, 24)])
def test_fine_map_has_a_quarter_of_the_channels(channels, fine):
    assert wavelet(channels, num_heads=1).narrow.out_channels == fine


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 3}, "num_heads must divide the channels, got num_heads=3 for 8 channels"),
        ({"num_heads": 0}, "num_heads must divide the channels, got num_heads=0"),
        (
            {"shift": 4},
            "window must be at least 1 and shift from 0 to 3, got window=4, shift=4; half",
        ),
        ({"shift": -1}, "got window=4, shift=-1"),
        ({"window": 0}, "window must be at least 1"),
        (
            {"channels": 9},
            "wavelet.channels must be those of its input, 8, got 9; put a conv before it",
        ),
        *(
            ({name: 0}, f"wavelet.{name} must be at least 1, got 0")
            for name in ("hidden", "inner", "d_state", "num_classes", "rank")
        ),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Wavelet(8, **{"channels": 8, **SIZES, "noise": False, **changes}, make_conv=plain_conv)
