import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas.deploy import Runner, hostile_images
from nas.deploy.plan import trace
from nas.deploy.precision import earn_float16
from nas.ops.fuse import fuse
from search_spaces import build, published
from search_spaces.official import load_official

SHARED = Path(__file__).parents[4] / "shared"
CHECKPOINT = SHARED / "reference" / "checkpoints" / "team22_spanv2_c2.pth"
PHOTOGRAPHS = SHARED / "data" / "Set5" / "LR_bicubic" / "X4"
needs_shared = pytest.mark.skipif(not CHECKPOINT.exists(), reason="../shared is not here")


def db(value, exact, peak=1.0):
    error = (value.double() - exact).square().mean().item()
    return math.inf if error == 0 else 10 * math.log10(peak**2 / error)


def spanv2():
    net = build(published("spanv2")).eval()
    load_official(net, CHECKPOINT)
    return net


def photographs():
    for path in sorted(PHOTOGRAPHS.glob("*.png")):
        pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32) / 255
        yield torch.from_numpy(pixels).permute(2, 0, 1)[None]


def test_hostile_images_are_what_they_are_called():
    images = hostile_images(9, 12)
    assert list(images) == ["noise", "checkerboard", "dithered", "stripes", "flat"]
    for image in images.values():
        assert image.shape == (1, 3, 9, 12)
        assert set(image.unique().tolist()) <= {0.0, 1.0}
    assert images["flat"].unique().numel() == 1
    board = images["checkerboard"]
    assert (board[..., 1:] != board[..., :-1]).all()
    assert (board[..., 1:, :] != board[..., :-1, :]).all()
    assert (images["stripes"][..., 1:, :] == images["stripes"][..., :-1, :]).all()
    dithered = hostile_images(64, 64)["dithered"].mean((0, 1, 2)).view(8, 8).mean(1)
    torch.testing.assert_close(dithered, torch.linspace(1 / 16, 15 / 16, 8), rtol=0, atol=0.03)


@needs_shared
def test_layers_that_hostile_images_drive_out_of_range_compute_in_float32():
    net = spanv2()
    runner = Runner(net, precision="fp16")
    kept = [step.layer for step in runner.steps if step.dtype == "float32"]
    assert [fault.layer for fault in runner.faults] == kept
    assert "overflows" in str(runner.faults[0])
    assert kept
    assert sum(step.dtype == "float16" for step in runner.steps) > len(kept)
    exact = spanv2().double()
    for name, image in hostile_images().items():
        with torch.no_grad():
            wanted = exact(image.double())
        assert db(runner(image), wanted, wanted.abs().max().item()) >= 40, name


@needs_shared
@pytest.mark.parametrize("trial", [None, {}])
def test_photographs_keep_60_db_to_float64_in_float16(trial):
    runner, exact = Runner(spanv2(), precision="fp16", trial=trial), spanv2().double()
    assert bool(runner.faults) == (trial is None)
    for image in photographs():
        with torch.no_grad():
            assert db(runner(image), exact(image.double())) >= 60


def test_a_network_none_of_whose_layers_stand_it_is_refused_by_name():
    net = build(published("spanv2"))
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.fill_(1e3 if "conv" in name else 1e5)
    with pytest.raises(
        ValueError, match=r"^precision=fp16 is refused, no layer stands it \(skip: it overflows"
    ):
        Runner(net, precision="fp16")


def test_a_layer_that_loses_too_much_is_named_with_what_it_reaches():
    """Large values that cancel: nothing overflows, few digits are left."""
    torch.manual_seed(0)
    net = build(published("spanf"))
    with torch.no_grad():
        conv = net.blocks["3"].conv2
        conv.weight[:, ::2] = 500.0
        conv.weight[:, 1::2] = -500.0
        net.blocks["3"].conv1.weight[1::2] = net.blocks["3"].conv1.weight[::2]
        net.blocks["3"].conv1.bias[1::2] = net.blocks["3"].conv1.bias[::2] + 1e-4
    dtypes, faults = earn_float16(trace(fuse(net, attention="epilogue")), hostile_images(16, 16))
    assert str(faults[0]).startswith("blocks.3.conv2: ")
    assert "dB to float64 are under 40" in str(faults[0])
    assert {fault.layer for fault in faults} == {"blocks.3.conv2", "blocks.3.conv1"}, "no more than needed"
    assert list(dtypes.values()).count(torch.float32) == 2
