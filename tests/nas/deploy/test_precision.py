import itertools
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
from search_spaces.checkpoints.official import load_official

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


def strangers(height, width):
    """Images that are not those of the trial."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    planes = {
        "rows": rows,
        "three rows": rows // 3,
        "diagonals": (rows - columns) // 3,
        "board": rows + columns,
    }
    for (name, plane), inverse in itertools.product(planes.items(), ((0, 0, 0), (0, 1, 0))):
        channels = [(plane + 1 + one) % 2 for one in inverse]
        yield f"{name} {inverse} {height}x{width}", torch.stack(channels).float()[None]


def photographs():
    for path in sorted(PHOTOGRAPHS.glob("*.png")):
        pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32) / 255
        yield torch.from_numpy(pixels).permute(2, 0, 1)[None]


@needs_shared
def test_layers_that_hostile_images_drive_out_of_range_compute_in_float32():
    net = spanv2()
    runner = Runner(net, precision="fp16")
    kept = [step.layer for step in runner.steps if step.dtype == "float32"]
    assert runner.layers == {"float16": 10, "float32": 8}
    assert [fault.layer for fault in runner.faults] == kept
    assert str(runner.faults[0]).startswith("blocks.1.conv1: blocks.5.conv1, which it feeds: ")
    assert "overflows" in str(runner.faults[-1])
    exact = spanv2().double()
    for name, image in {
        **hostile_images(),
        **dict(strangers(64, 64)),
        **dict(strangers(33, 47)),
    }.items():
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


def chain(*weights):
    """1x1 convolutions one after the other, each (Cout, Cin)."""
    layers = []
    for weight in weights:
        conv = torch.nn.Conv2d(len(weight[0]), len(weight), 1, bias=False)
        conv.weight.data[:, :, 0, 0] = torch.tensor(weight, dtype=torch.float32)
        layers.append(conv)
    return trace(torch.nn.Sequential(*layers))


def test_layers_near_the_end_of_the_range_or_that_read_from_there_are_lifted():
    """The image of the trial does not reach float16's largest value, another may."""
    graph = chain([[20000.0, 0.0, 0.0]], [[5e-5]], [[1.0]])
    dtypes, faults = earn_float16(graph, {"white": torch.ones(1, 3, 4, 4)})
    assert [str(fault) for fault in faults] == [
        "0: 2e+04 is too near to float16's 65504 on white",
        "1: 2e+04 is too near to float16's 65504 on white",
    ]
    assert list(dtypes.values()) == [torch.float32, torch.float32, torch.float16]


def test_the_layer_whose_rounding_costs_most_is_lifted_not_the_one_that_shows_it():
    graph = chain(
        [[64.02, -64.0, 0.0], [100.0, 0.0, 0.0]], [[1000.0, 0.0]]
    )  # 64.02 is 64 in float16
    dtypes, (fault,) = earn_float16(graph, {"white": torch.ones(1, 3, 4, 4)})
    assert str(fault).startswith(
        "0: 1, which it feeds: 0.0 dB to float64 are under 40 and a margin of 3"
    )
    assert list(dtypes.values()) == [torch.float32, torch.float16]


def test_what_is_lifted_for_one_image_is_tried_on_the_others_again():
    """On red two roundings cancel; on cyan the second layer and the third are lifted, which uncovers one."""
    red, cyan = (
        torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, 4, 4)
        for colour in ([1.0, 0, 0], [0, 1.0, 1])
    )
    down, up = 1 + 0.98 * 2**-11, 1 + 1.02 * 2**-11  # float16 knows 1 and 1 + 2**-10
    graph = chain(
        [[down, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [[up, 0, 0, 0], [0, 1, 0, 0], [0, 0, 64.03, -64], [0, 0, 0, 1], [0, 0, 1, 0]],
        [[1000, -1000, 0, 0, 0], [0, 0, 0, 64.03, -64]],
        [[1, 1]],
    )
    assert not earn_float16(graph, {"red": red})[1]
    assert [fault.layer for fault in earn_float16(graph, {"cyan": cyan})[1]] == ["1", "2"]
    assert [fault.layer for fault in earn_float16(graph, {"red": red, "cyan": cyan})[1]] == [
        "0",
        "1",
        "2",
    ]


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
    first, second = map(str, faults)
    assert first.startswith("blocks.3.conv1: blocks.3.conv2, which it feeds: ")
    assert second.startswith("blocks.3.conv2: ")
    assert "dB to float64 are under 40" in second
    assert list(dtypes.values()).count(torch.float32) == 2, "no more than needed"
